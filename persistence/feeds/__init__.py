"""Promos for users, and their feeds.

| Module | What it does |
|---|---|
| user_promos | promos as a user sees them: a feed page, the history, one promo |
| feed_index | inserts and deletes the feed entries of a promo |
| feed_entries | the parts of statements that do this |
| feed_counts | exact totals of feeds |
| feed_status | updates the status of feed entries as days pass |
"""
