"""A minimal server that redeems codes, for comparison: an ASGI application without any framework.

It checks a token, reads the company, finds a code of a UNIQUE or COMMON promo with its promo and its redemption, and
redeems a code of a UNIQUE promo by one statement. It validates nothing, and counts redemptions when they are read.
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
    CREATE TABLE promo (
        id uuid PRIMARY KEY, company_id uuid NOT NULL, mode text NOT NULL, description text NOT NULL, common_key text,
        issued integer NOT NULL, redeemed integer NOT NULL
    );
    CREATE INDEX ON promo (company_id, common_key);
    CREATE TABLE code (
        promo_id uuid NOT NULL, position integer NOT NULL, company_id uuid NOT NULL, key text NOT NULL,
        value text NOT NULL, country text, PRIMARY KEY (promo_id, position)
    );
    CREATE INDEX ON code (company_id, key);
    CREATE TABLE redemption (
        promo_id uuid, id uuid, company_id uuid NOT NULL, position integer, country text, order_ref text,
        state text NOT NULL, held_until timestamptz, created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (promo_id, id)
    );
    CREATE UNIQUE INDEX ON redemption (promo_id, position) WHERE state IN ('held', 'confirmed');
    CREATE INDEX ON redemption (company_id, id);
    CREATE INDEX ON redemption (company_id, created_at DESC, id DESC);
    CREATE INDEX ON redemption (promo_id, created_at DESC, id DESC);
    CREATE INDEX ON redemption (promo_id, country);
"""
_COMPANY = "SELECT name, version FROM company WHERE id = $1"
_FIND = """
    SELECT p.id, p.mode, p.description, c.position, c.country IS NOT NULL, r.state, r.held_until > now()
    FROM code c JOIN promo p ON p.id = c.promo_id
    LEFT JOIN redemption r ON r.promo_id = c.promo_id AND r.position = c.position AND r.state IN ('held', 'confirmed')
    WHERE c.company_id = $1 AND c.key = $2
    UNION ALL
    SELECT id, mode, description, NULL, issued > redeemed, NULL, NULL FROM promo
    WHERE company_id = $1 AND common_key = $2
"""
_REDEEM = """
    WITH won AS (
        INSERT INTO redemption (promo_id, id, company_id, position, country, order_ref, state)
        SELECT promo_id, $3, $1, position, country, $4, 'confirmed' FROM code
        WHERE company_id = $1 AND key = $2 AND country IS NOT NULL
        ON CONFLICT DO NOTHING RETURNING promo_id, position, created_at
    )
    SELECT won.promo_id, won.created_at, code.value FROM won JOIN code USING (promo_id, position)
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
        rows = await (await cursor.execute(_FIND, [company_id, key])).fetchall()
        free = [row for row in rows if row[4] and (row[5] is None or (row[5] == "held" and not row[6]))]
        promo = {"promo_id": rows[0][0], "mode": rows[0][1], "description": rows[0][2]} if rows else None
        return {"valid": len(free) == 1, "reasons": [], "promo": promo}
    new = uuid4()
    row = await (await cursor.execute(_REDEEM, [company_id, key, new, body.get("order_ref")])).fetchone()
    assert row, "the code cannot be redeemed"
    return {"id": new, "promo_id": row[0], "code": row[2], "created_at": row[1], "state": "confirmed"}
