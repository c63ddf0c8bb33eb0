"""The processes that serve: connections, pipelining, slow clients and the graceful stop."""
