"""Deliveries to webhooks, with real receivers."""
