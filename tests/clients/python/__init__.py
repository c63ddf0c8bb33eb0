"""The story of a promo, with the Python client that openapi-python-client generates from api.yml."""
