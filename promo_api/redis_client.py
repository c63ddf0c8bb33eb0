"""A client for one Redis server, a service behind Sentinels, or a Cluster."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from promo_api.config.redis_url import Mode, RedisUrl

Client = redis.Redis | RedisCluster


class Script:
    """A Lua script, which Redis caches by its SHA-1 digest."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisClient:
    """Creates a client on first use, because a Cluster client connects when it is created."""

    def __init__(self, url: RedisUrl, timeout_s: float) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._client: Client | None = None

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Provide the client. Every failure is a redis.RedisError."""
        try:
            # Two threads may each create a client; the second replaces the first.
            if self._client is None:
                self._client = _OPENERS[self._url.mode](self._url, self._options())
            yield self._client
        except RedisClusterException as error:
            raise redis.RedisError(str(error)) from error

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Run a script; in a Cluster its keys must share a hash slot. Raise redis.RedisError."""
        with self.client() as client:
            try:
                return client.evalsha(script.digest, len(keys), *keys, *arguments)
            except redis.exceptions.NoScriptError:
                return client.eval(script.text, len(keys), *keys, *arguments)

    def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            self._client.close()

    def _options(self) -> dict[str, Any]:
        return {
            "socket_timeout": self._timeout_s,
            "socket_connect_timeout": self._timeout_s,
            "username": self._url.username,
            "password": self._url.password,
            "ssl": self._url.tls,
            # One retry, because a restart of Redis leaves dead connections in the pool.
            "retry": Retry(NoBackoff(), 1),
        }


def _open_standalone(url: RedisUrl, options: dict[str, Any]) -> Client:
    [(host, port)] = url.hosts
    return redis.Redis(host=host, port=port, db=int(url.path or 0), max_connections=None, **options)


def _open_sentinel(url: RedisUrl, options: dict[str, Any]) -> Client:
    without_credentials = {name: value for name, value in options.items() if name not in ("username", "password")}
    sentinel = Sentinel(url.hosts, sentinel_kwargs=without_credentials, **options)  # type: ignore[no-untyped-call]
    client: redis.Redis = sentinel.master_for(url.path, max_connections=None)  # type: ignore[no-untyped-call]
    return client


def _open_cluster(url: RedisUrl, options: dict[str, Any]) -> Client:
    nodes = [ClusterNode(*host) for host in url.hosts]  # type: ignore[no-untyped-call]
    return RedisCluster(startup_nodes=nodes, **options)


_OPENERS: dict[Mode, Callable[[RedisUrl, dict[str, Any]], Client]] = {
    Mode.STANDALONE: _open_standalone,
    Mode.SENTINEL: _open_sentinel,
    Mode.CLUSTER: _open_cluster,
}
