"""Embedded servers for the commands `dev` and `antifraud-stub`, and for the tests; and `make install`.

| Module | What it does |
|---|---|
| install | `make install`, before any package is installed |
| run | the command `dev` |
| demo/ | the command `demo` |
| postgres, postgres_programs | EmbeddedPostgres, and how its programs are run |
| valkey | EmbeddedValkey |
| antifraud_stub, antifraud_behaviour | EmbeddedAntifraud, and the behaviour that clients configure |
| mailbox | a mail server that stores mails |
| embedded | the base class of these servers |
| folder, ports, processes, signals | data folder, free ports, leftover processes, stop signals |
"""
