"""Tests of a Citus cluster."""
