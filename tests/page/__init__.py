"""The documentation page, opened in a browser and used as a person does."""
