"""The contract layer: it makes api.yml the behaviour of the server. It imports nothing of this project but `errors`.

**Connexion** loads api.yml, checks that it is OpenAPI, resolves its references, finds the function of each operationId
and makes a Flask app with a view for each operation. It also serves the files of Swagger UI, and its exception
middleware calls our error handlers.

**Flask** runs the view: it opens the request context, calls the handler, and makes the response. It does not route,
parse or handle errors. It stays because an operator may add Flask extensions and views to the app.

**We** do the rest, because Connexion's own parts accept requests that api.yml does not describe, answer 500 to some
malformed ones, repeat input in messages, or cost too much (docs: contract layer; tests named `test_stock_*` show it):

| Module | What it does | Instead of |
|---|---|---|
| application | builds the ASGI application: `build_application` | |
| operations | the operations of a specification | Connexion's operation classes |
| routing | path and method to operation; 404 and 405 | Starlette's router, Flask's router |
| security | bearer tokens; 401 | Connexion's security handlers |
| validation, parameters, bodies | strict, single parsing of a request; 400, 413, 415 | Connexion's validators |
| schemas, formats | compiled JSON schemas, and messages that do not repeat input | jsonschema |
| input_limits | bounds on the size of a request, from its schema | |
| client_address, sender | who sent a request | |
| fair_queue, pooled_request, thread_pool, thread_pools | threads for handlers; a bounded, fair queue; 503 | a2wsgi |
| handler_resolver, flask_views | operationId to handler, handler to Flask view | Connexion's decorators |
| compression | gzip for large responses without secrets | |
| error_responses | the common error body | Connexion's problem+json |
| response_validation | responses validated against api.yml, in tests | Connexion's response validator |
| documentation | Swagger UI, and the specification as it was written | Connexion's page |
| cross_origin, security_headers | CORS, and headers for browsers | |
"""

import warnings

# Connexion imports Starlette's test client, which warns about the HTTP client that it finds. Neither is used here.
warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
