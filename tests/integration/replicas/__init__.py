"""Reads from replicas of PostgreSQL."""
