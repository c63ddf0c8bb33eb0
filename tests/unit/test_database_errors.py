"""Which errors of PostgreSQL mean that it is unavailable."""

from psycopg import errors

from persistence.database.errors import StatementRefused, translate
from promo_api.errors import ServiceUnavailable
from tests.cases import all_cases

_LOST = [
    "server closed the connection unexpectedly",
    "could not commit transaction for shard 102102 on at least one active node",
    "could not receive data from server: Connection reset by peer",
    "postmaster was shut down, exiting",
    "execution cannot recover from multiple connection failures. Last node failed 127.0.0.1:5432",
    "no connection to the server",
]


@all_cases("message", _LOST)
def test_lost_server(message: str) -> None:
    """Citus reports a lost server as an internal error: the database is unavailable."""
    assert isinstance(translate(errors.InternalError_(message)), ServiceUnavailable)


def test_internal_error() -> None:
    """Another internal error is a defect."""
    assert isinstance(translate(errors.InternalError_("cache lookup failed for type 1")), StatementRefused)
