"""Functions that a made-up contract names to read tokens; the token says itself whether it is good."""


def read_token(tokens: object, token: str) -> dict[str, object] | None:
    """Take a token that begins with what `tokens` is."""
    return {"claims": token} if token.startswith(str(tokens)) else None
