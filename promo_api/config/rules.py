"""Rules between settings."""

from typing import Any

_HOSTS = {"postgres_port": "postgres_host", "postgres_read_port": "postgres_read_host"}


def find_problems(settings: Any) -> list[str]:
    """Return the broken rules as sentences."""
    problems = [
        f"{port.upper()} must be one port for all hosts of {host.upper()}, or one for each."
        for port, host in _HOSTS.items()
        if getattr(settings, port).count(",") not in (0, getattr(settings, host).count(","))
    ]
    if settings.smtp_url:
        missing = [name for name in ("mail_from", "password_reset_url") if not getattr(settings, name)]
        problems += [f"{name.upper()} is not set: SMTP_URL needs it." for name in missing]
    return problems
