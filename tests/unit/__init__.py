"""Tests of single parts, and of the source itself: no server is needed."""
