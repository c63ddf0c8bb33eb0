"""Delivery of events to webhooks: addresses, signatures, requests and the background job that sends them."""
