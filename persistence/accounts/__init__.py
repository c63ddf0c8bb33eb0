"""Accounts.

| Module | What it does |
|---|---|
| credentials | sign-up, sign-in and tokens |
| addresses | e-mail addresses, each of one account |
| api_keys | API keys of companies |
| companies, users | the account that sent a request; closed companies |
| company_names | the names that cards show, as parts of statements |
| consistency | checks of addresses, names and keys |
| profiles | what a user can change, as a condition |
| password_resets | passwords reset by mail, and the outbox of the mails |
| ended_resets | the end of password resets, as a part of statements |
| events | the audit log of accounts |
| deletion | deletion of a user in portions |
| own_activations | the activations of a user, with their codes |
| exports | personal data of a user |
"""
