"""The tables: `tables` holds accounts, promos and what users do; `audit_tables` the append-only log; `feed_tables` the
derived data of feeds; `orders` the orders that indexes and statements share.
"""
