"""Races: threads that a barrier lets go at once, and row locks that a test holds until all others wait for them."""
