"""The operations of api.yml: one plain function per operationId, one module per group of operations.

`operationId: user_likes.like_promo` is the function `like_promo` in `user_likes.py`. A handler is called with the
runtime, the authenticated company or user (if the operation is secured), and the declared parameters and body as
keyword arguments, validated and converted. It returns the response body, or (body, status), or (body, status, headers),
or raises an error of promo_api.errors.

Modules without operations: `serializers` turns rows into JSON, `accounts` has the sign-up and sign-in that both kinds
of account share, `idempotency` implements the Idempotency-Key header.
"""

from typing import Any

Body = dict[str, Any]
Headers = dict[str, str]
