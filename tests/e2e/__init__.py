"""End-to-end tests: the commands as processes, over HTTP, while their dependencies stop and start."""
