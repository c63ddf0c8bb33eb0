"""Promos for users, and their feeds.

| Module | What it does |
|---|---|
| user_promos | promos as a user sees them |
| feed_filters | filters without an index in the feed, as a query |
| feed_index | inserts and deletes feed entries |
| feed_totals | exact totals of feeds, as a query |
| feed_counts | the counts of these totals |
| feed_status | updates the status as days pass |
"""
