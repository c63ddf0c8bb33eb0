"""Breaking changes of api.yml that are accepted, by their reason: pairs of a member and a kind of change."""

from itertools import product

# Changes since the releases that break clients in use, by reason: as member and kind.
ACCEPTED: dict[str, set[tuple[str, str]]] = {
    "Names and texts without a visible character, or with control characters, were accepted.": {
        *product(("name", "surname", "promo_common", "promo_unique", "categories", "category"), ("pattern", "format")),
        *product(("description", "text"), ("pattern", "format")),
    },
    "More is accepted, and so returned: short names, short addresses, international domains.": {
        *product(("email",), ("pattern", "minLength")),
        ("company_name", "minLength"),
    },
    "Responses of 0.1.0 were closed, so every new member breaks its strict clients.": {
        *product(("code", "reasons", "codes_count", "comments_enabled"), ("member",)),
        *product(("mode", "categories", "active_from", "active_until"), ("member",)),
        *product(("state", "paused", "archived", "max_per_user"), ("member",)),
        *product(("candidates", "redemptions_count"), ("member",)),
        *product(("low_stock_percent", "activation_events"), ("member",)),
    },
    "Go and PHP clients cannot evaluate the pattern of U+0000, and refused every text of a response.": {
        *product(("company_name", "promo"), ("pattern",)),
    },
    "The status `ok` is a pattern, because Go has one namespace for the values of all enums.": {("status", "enum")},
    "Some generated clients would send the default, also with a cursor.": {("offset", "default")},
    "The pattern of a password accepts more, which the comparison cannot see.": {("password", "pattern")},
}
