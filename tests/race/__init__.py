"""Races: threads released together by a barrier, and row locks that a test holds until the others wait for them."""
