"""Handlers of the sample APIs."""
