"""Comments of users."""

from collections.abc import Sequence
from random import Random

# The first sentence; the second is about the company.
_OPENINGS = (
    "Worked at the till without any problem.",
    "Great offer!",
    "Thanks for this.",
    "I used it twice already.",
    "Saved me quite a bit.",
    "The code worked on the first try.",
    "Very happy with it.",
    "Shared it with my sister.",
    "Exactly what I needed this week.",
    "A nice surprise.",
    "Simple and quick.",
    "Used it online, it took seconds.",
    "Good value.",
    "My colleagues want it too.",
    "I came back because of it.",
    "Better than the last offer.",
)
_COMPLAINTS = (
    "The code was refused at first, but the second try worked.",
    "Does it work together with other offers?",
    "Nice offer, but the queue was long.",
    "I wish it would run until the end of the month.",
    "It would be great to have this in the app as well.",
    "Is it valid in all shops?",
    "It did not work with gift cards, apart from that all fine.",
    "Good, but I expected a bit more.",
    "Almost sold out when I came, so be quick.",
    "Please repeat this next month!",
)
_COMPLAINTS_SHARE, _SHORT_SHARE = 0.22, 0.25
# Comments that users report, each with the reason.
REPORTED = (
    ("Earn 500 a day from home, write to me for the link!!!", "spam"),
    ("Cheap followers and likes, best prices, see my profile.", "spam"),
    ("The staff in the shop are idiots and so is everybody who buys here.", "offensive"),
)


def write_comment(random: Random, praise: Sequence[str]) -> str:
    """Return the text of a comment about a company."""
    if random.random() < _COMPLAINTS_SHARE:
        return random.choice(_COMPLAINTS)
    opening = random.choice(_OPENINGS)
    if random.random() < _SHORT_SHARE:
        return opening
    detail = random.choice(praise)
    return f"{opening} {detail[0].upper()}{detail[1:]}."
