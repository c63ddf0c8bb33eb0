"""Settings: read from the environment once, and validated.

| Module | What it does |
|---|---|
| settings | the settings, with defaults, bounds and meanings |
| reading | reads values from the environment and from files |
| unknown_settings | variables that look like misspelt settings |
| values | parsers for their values |
| rules | rules between settings |
| redis_url | the address of Redis |
| smtp_url | the address of the mail server |
"""
