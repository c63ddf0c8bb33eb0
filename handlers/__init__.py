"""The operations of api.yml: one plain function per operationId.

`operationId: user_likes.like_promo` is the function `like_promo` in `user_likes.py`. A handler is called with the
runtime, the authenticated company or user (if the operation is secured), and the declared parameters and body as
keyword arguments, validated and converted. It returns the response body, or (body, status), or (body, status, headers),
or raises an error of promo_api.errors.

| Module | What it does |
|---|---|
| health | liveness and health |
| business_auth, user_auth | sign-up, sign-in and sign-out |
| business_promos | promos of a company |
| user_profile, user_export | the account of a user |
| user_promos | the feed |
| user_activations, user_likes, user_comments | what a user does with a promo |
| accounts | shared: sign-up and sign-in for both kinds of account |
| idempotency | shared: the Idempotency-Key header |
| serializers | shared: rows to JSON |
"""

from typing import Any

Body = dict[str, Any]
Headers = dict[str, str]
