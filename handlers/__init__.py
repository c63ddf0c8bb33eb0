"""What each operation of api.yml does: one plain function per operationId, one module per group of operations.

`operationId: user_likes.like_promo` is the function `like_promo` in `user_likes.py`. A function gets the runtime, the
company or user that asks (where the operation is secured), and by name what api.yml declares: path and query parameters
and the body, checked and converted. It returns the body of the answer, with a status and headers where they are not 200
and none, or raises one of promo_api.errors.

Beside the operations stand `shapes`, which turns rows into JSON, and `accounts`, what both kinds of account do alike.
"""

from typing import Any

Body = dict[str, Any]
Headers = dict[str, str]
