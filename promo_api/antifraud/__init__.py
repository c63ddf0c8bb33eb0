"""The anti-fraud check of an activation.

| Module | What it does |
|---|---|
| checks | decides by cached verdict, or calls the service; or allows everything |
| verdict_cache | verdicts and leases in Redis |
| client | the HTTP client of the service |
"""
