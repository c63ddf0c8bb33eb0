"""What a process uses."""

from contextlib import suppress
from pathlib import Path

_STATM = Path("/proc/self/statm")
_PAGE_BYTES = 4096


def resident_bytes() -> int:
    """Return the resident memory; 0: unknown."""
    with suppress(OSError):
        return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    return 0
