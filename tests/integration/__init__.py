"""Tests of the whole service in this process, on real servers."""
