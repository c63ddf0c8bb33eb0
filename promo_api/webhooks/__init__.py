"""Delivery of events to webhooks.

| Module | What it does |
|---|---|
| job | the background job of a worker |
| sender | claims deliveries, and sends them in an event loop |
| client | sends one request |
| outcomes | what comes of a request |
| results | stores outcomes; pauses and disables webhooks |
| addresses | the addresses that webhooks may reach |
| signatures | signs requests |
| retry_after | reads the header Retry-After |
"""
