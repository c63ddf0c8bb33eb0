"""Tests of the company console."""
