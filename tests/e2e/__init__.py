"""End to end: the commands as real processes, asked over HTTP, while what they need is stopped and started."""
