"""Faults of a Citus cluster: its servers are killed, frozen and rebalanced while services use it."""
