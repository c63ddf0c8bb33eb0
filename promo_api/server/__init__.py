"""The processes that serve: gunicorn and uvicorn, with limits for connections and slow clients.

Only these modules use private attributes of gunicorn and uvicorn, so setup.cfg bounds their versions.

| Module | What it does |
|---|---|
| gunicorn_app | gunicorn's options, workers and signals |
| graceful_stop | drains, then finishes open connections |
| acceptor | shares new connections among the workers |
| connection_limits | limits connections per worker and client address |
| slow_clients | limits slow clients and unread responses |
| strict_http | rejects malformed HTTP and oversized heads |
| early_responses | closes connections whose upload was refused |
| pipelining | limits the unanswered requests of a connection |
| file_limits | the limit of open files |
| memory | tunes the heap and the garbage collector |
"""
