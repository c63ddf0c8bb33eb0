"""Servers for `dev` and for the tests. Nothing has to be installed but the development dependencies.

| Module | Contents |
|---|---|
| run | the command `dev`: start all servers, migrate, serve until Ctrl-C |
| postgres, postgres_programs | EmbeddedPostgres, and how its programs are run |
| valkey | EmbeddedValkey |
| antifraud_stub, antifraud_behaviour | EmbeddedAntifraud, and the behaviour that clients configure |
| embedded | the base class of the three, and the error they raise |
| folder, ports, processes, signals | helpers: data folder, free ports, leftover processes, stop signals |

Only the commands `dev` and `antifraud-stub`, and the tests, import this package.
"""
