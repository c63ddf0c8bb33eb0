"""Promos as their companies see and change them.

| Module | What it does |
|---|---|
| promos | promos and the lists of a company |
| company_filters | filters of these lists, as a query |
| company_ranges | index ranges of the lists of a company |
| promo_words | search words of existing promos |
| changes | the audit log of promos |
| codes | the codes of UNIQUE promos |
| code_search | codes in any spelling, and whether they can be redeemed |
| code_lists | a cache of the lists that UNIQUE promos were created with |
| inventory | the numbers of active promos and of their codes |
"""
