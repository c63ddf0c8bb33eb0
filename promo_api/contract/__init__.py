"""The contract layer makes api.yml the behaviour of the server.

Connexion checks that api.yml is OpenAPI, resolves its references, and finds the handler of each operationId.
Flask runs the view of an operation: it opens the request context, calls the handler and builds the response. It neither
routes nor parses nor handles errors. It stays so that an operator can add Flask extensions.

This package does everything else, because Connexion's own parts accept requests that api.yml does not describe, answer
500 to malformed ones, repeat input in messages, or are slow. Tests named `test_stock_*` show it.

| Module | Purpose |
|---|---|
| application | builds the ASGI application |
| document | the specification, parsed |
| operations | operations of a specification |
| routing | path and method to operation; 404 and 405 |
| security | bearer tokens; 401 |
| validation, parameters, bodies | strict, single parsing; 400, 413, 415 |
| media_types | Content-Type and Accept; 415 |
| streams | bodies that are too large for memory |
| json_parser | strict JSON: positions of errors, repeated members |
| schemas, formats | compiled JSON schemas |
| messages, pointers | messages and locations of violations, without input |
| input_limits | bounds on request size, from the schema |
| client_address, sender | who sent a request |
| fair_queue, pooled_request, thread_pool, thread_pools | threads for handlers, with fair queues; 503 |
| handler_resolver, flask_views | operationId to handler, handler to view |
| compression | gzip for large responses without secrets |
| conditional_requests | ETag and If-None-Match; 304 |
| error_responses | the common error body |
| response_validation | responses against api.yml, in tests |
| documentation, compressed_file | the documentation page, and api.yml as JSON |
| cross_origin, security_headers | CORS, and headers for browsers |
"""

import warnings

# Starlette's test client, which Connexion imports, warns about its HTTP client. Neither is used.
warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
