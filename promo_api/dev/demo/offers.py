"""What a company and a promo of the demo look like."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Offer:
    """A promo and its use. Days count from today: negative ones are over.

    Attributes:
        description: of the promo.
        code: of a COMMON promo; of a UNIQUE promo, the beginning of its codes.
        limit: how often it can be activated, or the number of its codes.
        uses: how often it was activated in the month.
        categories: of the target.
        is_unique: whether each activation gets another code.
        created: the day on which it was created.
        starts: `active_from`.
        ends: `active_until`.
        stopped: when its use ended, if that was before its last day; a fraction is a part of a day.
        closing: the member that became true then, `paused` or `archived`; "": it was used up.
        country: of the target.
        ages: of the target, the first and the last.
        max_per_user: activations of one user.
        low_stock_percent: see api.yml.
        activation_events: see api.yml.
        comments_enabled: see api.yml.
    """

    description: str
    code: str
    limit: int
    uses: int
    categories: Sequence[str]
    is_unique: bool = False
    created: float = -32
    starts: int | None = None
    ends: int | None = None
    stopped: float | None = None
    closing: str = ""
    country: str | None = None
    ages: tuple[int | None, int | None] = (None, None)
    max_per_user: int | None = None
    low_stock_percent: int | None = None
    activation_events: bool = False
    comments_enabled: bool = True


@dataclass(frozen=True)
class Shop:
    """A company and its promos.

    Attributes:
        name: of the company.
        email: for its sign-in.
        orders: the beginning of its order references.
        redeemed: the share of activations whose code is redeemed with the API.
        praise: what its customers write about, with a verb.
        offers: its promos.
    """

    name: str
    email: str
    orders: str
    redeemed: float
    praise: Sequence[str]
    offers: Sequence[Offer]
