"""promo_api.dev: embedded servers, and the command `dev`."""
