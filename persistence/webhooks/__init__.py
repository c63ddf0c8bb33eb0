"""Webhooks of companies, and what is delivered to them.

| Module | What it does |
|---|---|
| webhooks | webhooks as their companies see and change them |
| deliveries | leases and results of deliveries, for the sender |
| redeliveries | the list of deliveries, tests, and events that are delivered again |
| upkeep | deletion, encryption of the secrets, and counts |
| mails | mails about disabled webhooks |
"""
