"""Feeds of promos for a user.

user_promos    promos as a user sees them: one promo, a feed page, the history
feed_index     lists a promo in feeds, and removes it
feed_entries   the parts of statements that do so
feed_counts    exact totals of feeds
standings      the periodic update of entries
"""
