"""The documentation page, in a browser."""
