"""Clients generated from api.yml, type-checked strictly and run against a server."""
