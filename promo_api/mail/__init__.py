"""Mails.

| Module | What it does |
|---|---|
| messages | the texts of mails |
| smtp | sends a mail |
| attempts | attempts to send a mail, and the pauses between them |
| reset_mails, webhook_mails | what the sweepers send: mails of password resets, and about disabled webhooks |
"""
