"""The counts that are stored and can be recounted."""

from collections.abc import Callable

from sqlalchemy import Connection

from persistence.accounts.consistency import (
    count_mismatched_addresses,
    count_mismatched_keys,
    count_mismatched_names,
)
from persistence.consistency import (
    count_mismatched_activity,
    count_mismatched_added_codes,
    count_mismatched_change_numbers,
    count_mismatched_changes,
    count_mismatched_code_order,
    count_mismatched_code_positions,
    count_mismatched_codes,
    count_mismatched_comments,
    count_mismatched_company_promos,
    count_mismatched_country_redemptions,
    count_mismatched_country_uses,
    count_mismatched_deliveries,
    count_mismatched_event_numbers,
    count_mismatched_issued_codes,
    count_mismatched_jobs,
    count_mismatched_likes,
    count_mismatched_live_redemptions,
    count_mismatched_publications,
    count_mismatched_redemption_activity,
    count_mismatched_redemptions,
    count_mismatched_reports,
    count_mismatched_user_uses,
    count_mismatched_uses,
)
from persistence.database.statements import is_distributed
from persistence.feeds.feed_counts import count_mismatched_feed_counts
from persistence.feeds.feed_index import count_mismatched_feed_entries

# The stored counts. A function returns for how many promos, companies or users a count is wrong.
COUNTS: dict[str, Callable[[Connection], int]] = {
    "uses of promos": count_mismatched_uses,
    "likes of promos": count_mismatched_likes,
    "comments of promos": count_mismatched_comments,
    "reports of comments": count_mismatched_reports,
    "uses of promos by country": count_mismatched_country_uses,
    "activations of users": count_mismatched_user_uses,
    "issued codes of promos": count_mismatched_issued_codes,
    "order of issued codes": count_mismatched_code_order,
    "codes of activations": count_mismatched_code_positions,
    "codes of promos": count_mismatched_codes,
    "added codes of promos": count_mismatched_added_codes,
    "rejected rows and files of jobs": count_mismatched_jobs,
    "API keys by digest": count_mismatched_keys,
    "addresses of accounts": count_mismatched_addresses,
    "names of companies": count_mismatched_names,
    "redemptions of issued codes": count_mismatched_live_redemptions,
    "redemptions of promos": count_mismatched_redemptions,
    "redemptions of promos by country": count_mismatched_country_redemptions,
    "activity of promos by time": count_mismatched_activity,
    "redemptions of promos by time": count_mismatched_redemption_activity,
    "promos of companies by country": count_mismatched_company_promos,
    "numbers of changes of promos": count_mismatched_change_numbers,
    "changes of promos": count_mismatched_changes,
    "numbers of events": count_mismatched_event_numbers,
    "published events": count_mismatched_publications,
    "deliveries of events": count_mismatched_deliveries,
    "feed entries": count_mismatched_feed_entries,
    "feed counts": count_mismatched_feed_counts,
}


def count_mismatches(connection: Connection) -> dict[str, int]:
    """Return for how many promos, companies or users each count is wrong, by the name of the count.

    The servers of a cluster commit at different moments, so there a mismatch counts only if it is found twice.
    """
    mismatches = {name: count(connection) for name, count in COUNTS.items()}
    if is_distributed(connection):
        return {name: number and min(number, COUNTS[name](connection)) for name, number in mismatches.items()}
    return mismatches
