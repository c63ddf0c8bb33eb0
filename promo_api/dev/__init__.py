"""What `dev` and the tests run on: PostgreSQL, Valkey and the anti-fraud service, without anything being installed.

    dev.py                run_dev: all three, then the service itself, until Ctrl-C
    postgres.py           EmbeddedPostgres: a PostgreSQL server in a folder
    valkey.py             EmbeddedValkey: a Valkey server in a folder
    antifraud_stub.py     the stand-in of the anti-fraud service, steered over HTTP

    embedded.py           what the three have in common
    postgres_programs.py  the programs of PostgreSQL and the user they run under
    keepalive.py          the HTTP server that the stand-in runs on
    folder.py             the lock and the secret key in the folder of a `dev`
    ports.py              free ports and taken ones
    processes.py          processes that may outlive whoever started them
    signals.py            being asked to stop

This room alone uses the packages that bring the two servers; they are development dependencies. The service never
imports this room at its top: only the commands `dev` and `antifraud-stub`, and the tests, do.
"""


class SandboxError(Exception):
    """A server of the sandbox can't do what it should; the message is a sentence for whoever started it."""
