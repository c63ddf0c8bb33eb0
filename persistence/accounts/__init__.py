"""Accounts of companies and users.

credentials    sign-up, sign-in and tokens, the same for both kinds
users, companies    the account of a request
events         the audit log of accounts
deletion       removal of a user in batches
exports        everything that is stored about a user
"""
