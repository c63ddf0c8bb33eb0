"""The command-line options of the benchmarks."""

from argparse import ArgumentParser

# `memory.growth` compares minutes 3 and 4 with the last two.
_MINUTES_MIN = 6


def parse_minutes(program: str, description: str, default: int) -> int:
    """Parse the option --minutes."""
    parser = ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--minutes", type=int, default=default, help=f"duration; at least {_MINUTES_MIN}")
    minutes: int = parser.parse_args().minutes
    if minutes < _MINUTES_MIN:
        parser.error(f"--minutes must be at least {_MINUTES_MIN}, to see whether memory grows.")
    return minutes


def parse_rounds(program: str, description: str, rounds: int, seconds: int) -> tuple[int, int]:
    """Parse the options --rounds and --seconds, with these defaults."""
    parser = ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="number for each row of the result")
    parser.add_argument("--seconds", type=int, default=seconds, help="duration of each round")
    options = parser.parse_args()
    return options.rounds, options.seconds
