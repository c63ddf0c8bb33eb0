"""Accounts of companies and users.

| Module | What it does |
|---|---|
| credentials | sign-up, sign-in and tokens, for both kinds of account |
| companies, users | the account that sent a request |
| events | the audit log of accounts |
| deletion | deletes a user in batches |
| exports | personal data of a user |
"""
