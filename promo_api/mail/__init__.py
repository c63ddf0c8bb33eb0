"""Mails.

| Module | What it does |
|---|---|
| messages | the texts of mails |
| smtp | sends a mail |
| reset_mails | the sweeper that sends the mails of password resets |
"""
