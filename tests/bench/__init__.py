"""Measurements, which tell people how fast it is; no test depends on them."""
