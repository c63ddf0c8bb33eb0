"""The contract layer: it makes what api.yml says be what the server does.

All that knows Connexion, Starlette or Flask from inside is here, one idea a file.

| File | Idea |
|---|---|
| application | puts the layer together: `build_application` |
| routing | path and method to operation; 404 and 405 |
| binding | operation to handler function, bound to the runtime; who asks |
| formats, schemas | schemas of api.yml, compiled; what is wrong with a value, without repeating it |
| pruning | no sender decides how long that takes |
| parameters, bodies | strict reading of what was sent |
| validation | the form of a request, told after who sent it |
| client_address, sender | where a request comes from, and who sent it |
| fair_queue | a bounded queue in which accounts and client addresses take turns |
| thread_pool, thread_pools | one hop from the event loop to a handler's thread, and back; 503 when too many wait |
| bridge, wsgi | the Flask views, and how they are called |
| compression | gzip for large responses without secrets |
| responses | every error in one shape |
| conformance | answers keep the contract too, where that is asked for |
| documentation | the page for people, and the file for programs |
"""

import warnings

# Connexion imports Starlette's test client, which wants another HTTP client than Connexion brings. Neither serves here.
warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
