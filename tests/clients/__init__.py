"""Clients that are generated from api.yml alone, compiled strictly, and driven against a running server."""
