"""Settings: read from the environment once, and validated.

| Module | What it does |
|---|---|
| settings | the settings, with defaults, bounds and meanings |
| values | parsers for their values |
| redis_url | the address of Redis |
"""
