"""Tokens, passwords and rate limits.

| Module | What it does |
|---|---|
| tokens | issues and verifies JWTs |
| passwords | argon2 hashes, with limited concurrency |
| rate_limits | the limits, and which request counts for which |
| rate_limit_counter | counters in Redis: one Lua script |
| local_counters | counters in the memory of a worker |
"""
