"""The operations of api.yml: one plain function per operationId.

`user_likes.like_promo` is the function `like_promo` in `user_likes.py`. It takes the runtime, the authenticated account
if the operation is secured, and the validated parameters and body as keyword arguments. It returns the body, (body,
status) or (body, status, headers), or raises an error of promo_api.errors.

| Module | What it does |
|---|---|
| health | liveness and health |
| business_auth, user_auth | sign-up, sign-in, sign-out and forgotten passwords |
| business_keys | API keys of a company |
| business_promos | promos of a company |
| business_series | statistics over time |
| business_comments | moderation of comments |
| business_codes, business_jobs | codes of UNIQUE promos, and the jobs that add them |
| business_profile | the account of a company |
| business_redemptions | redemption of codes |
| business_events | events of a company |
| business_webhooks | webhooks of a company |
| user_profile, user_export | the account of a user |
| user_promos | the feed |
| user_activations, user_likes, user_comments | what a user does with a promo |
| accounts | shared: sign-up and sign-in of both kinds |
| password_resets | shared: forgotten passwords of both kinds |
| promo_changes | shared: changes of a promo, with its feed entries and audit log |
| company_locks | shared: transactions that change keys and webhooks |
| promo_owners | shared: the check that a promo belongs to the company |
| pages | shared: pages of lists and their cursors |
| replica_reads | shared: reads from replicas |
| streamed_rows | shared: whole lists as CSV or lines of JSON |
| idempotency | shared: the Idempotency-Key header |
| serializers | shared: rows to JSON |
| versions | shared: entity tags and the If-Match header |
"""

from typing import Any

Body = dict[str, Any]
Headers = dict[str, str]
