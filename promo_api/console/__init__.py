"""The company console at /console/: plain ES modules in `static/`, served as they are.

| Module | Content |
|---|---|
| pages | the files, with their headers |
"""
