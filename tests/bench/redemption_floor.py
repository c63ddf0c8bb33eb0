"""A minimal server that redeems codes, for comparison: an ASGI application without any framework.

It has one table of codes, checks a token, reads the company, and redeems a code by one statement.
"""

import asyncio
import hashlib
import hmac
import os
from typing import Any
from uuid import uuid4

import orjson
import psycopg

_KEY = b"a key for measuring"
_CONNECTIONS = 8
SCHEMA = """
    CREATE TABLE company (id uuid PRIMARY KEY, name text NOT NULL, version integer NOT NULL);
    CREATE TABLE code (
        company_id uuid NOT NULL, key text NOT NULL, promo_id uuid NOT NULL, position integer NOT NULL,
        issued boolean NOT NULL, redeemed uuid, PRIMARY KEY (company_id, key, promo_id, position)
    );
    CREATE TABLE redemption (
        promo_id uuid, id uuid, company_id uuid NOT NULL, position integer NOT NULL, order_ref text,
        created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (promo_id, id)
    );
    CREATE INDEX ON redemption (company_id, created_at DESC, id DESC);
    CREATE TABLE counter (promo_id uuid PRIMARY KEY, confirmed integer NOT NULL);
"""
_COMPANY = "SELECT name, version FROM company WHERE id = $1"
_FIND = "SELECT promo_id, position, issued, redeemed FROM code WHERE company_id = $1 AND key = $2"
_REDEEM = """
    WITH won AS (
        UPDATE code SET redeemed = $3 WHERE company_id = $1 AND key = $2 AND issued AND redeemed IS NULL
        RETURNING promo_id, position
    )
    INSERT INTO redemption (promo_id, id, company_id, position, order_ref)
    SELECT promo_id, $3, $1, position, $4 FROM won RETURNING promo_id, created_at
"""
_pool: asyncio.Queue[psycopg.AsyncRawCursor[Any]] = asyncio.Queue()


def issue(company_id: str) -> str:
    """Return a token."""
    return f"{company_id}.{hmac.digest(_KEY, company_id.encode(), hashlib.sha256).hex()}"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve a request."""
    if scope["type"] == "lifespan":
        await receive()
        for _ in range(_CONNECTIONS):
            connection = await psycopg.AsyncConnection.connect(os.environ["DSN"], autocommit=True)
            connection.prepare_threshold = 0
            _pool.put_nowait(psycopg.AsyncRawCursor(connection))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    message = await receive()
    token = dict(scope["headers"])[b"authorization"].removeprefix(b"Bearer ").decode()
    company_id = token.partition(".")[0]
    cursor = await _pool.get()
    try:
        assert hmac.compare_digest(token, issue(company_id))
        assert await (await cursor.execute(_COMPANY, [company_id])).fetchone()
        body = await _serve(cursor, scope["path"], company_id, orjson.loads(message["body"]))
    finally:
        _pool.put_nowait(cursor)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": orjson.dumps(body)})


async def _serve(cursor: Any, path: str, company_id: str, body: dict[str, Any]) -> dict[str, Any]:
    key = body["code"].strip().lower()
    if path.endswith("/validate"):
        row = await (await cursor.execute(_FIND, [company_id, key])).fetchone()
        return {"valid": bool(row and row[2] and not row[3]), "promo_id": row and row[0]}
    new = uuid4()
    row = await (await cursor.execute(_REDEEM, [company_id, key, new, body.get("order_ref")])).fetchone()
    assert row, "the code cannot be redeemed"
    return {"id": new, "promo_id": row[0], "created_at": row[1], "state": "confirmed"}
