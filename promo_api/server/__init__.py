"""The processes that serve: gunicorn and uvicorn, with limits for connections and slow clients.

All private attributes of gunicorn and uvicorn that the service uses are used here, each in one module. setup.cfg bounds
their versions for that reason.

| Module | What it does |
|---|---|
| gunicorn_app | gunicorn's options, its workers, and what each signal does |
| graceful_stop | drains, closes the listening socket and finishes open connections |
| acceptor | shares new connections among the workers |
| connection_limits | limits the connections of a worker and of a client address |
| slow_clients | limits the time of a client for a request or response, and the memory of unread responses |
| strict_http | rejects malformed HTTP and oversized heads with the error body of the API |
| pipelining | limits the unanswered requests of a connection |
| file_limits | the limit of open files |
| memory | one heap, rare garbage collections, and the return of free memory to the system |
"""
