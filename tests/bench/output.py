"""The output of the benchmarks."""

import sys


def write_line(line: str = "", end: str = "\n") -> None:
    """Write a line to stdout at once, also if stdout is a pipe."""
    sys.stdout.write(f"{line}{end}")
    sys.stdout.flush()
