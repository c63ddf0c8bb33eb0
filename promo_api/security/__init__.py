"""Tokens, API keys, cursors, passwords and rate limits.

| Module | What it does |
|---|---|
| reset_tokens | tokens that reset a password |
| tokens | issues and verifies JWTs |
| api_keys | generates and reads API keys |
| webhook_secrets | generates, encrypts and decrypts secrets of webhooks |
| cursors | issues and verifies the cursors of lists |
| passwords | argon2 hashes, with limited concurrency |
| rate_limits | the limits, and their counters for each kind of request |
| rate_limit_counter | counters in Redis: one Lua script |
| local_counters | counters in the memory of a worker |
"""
