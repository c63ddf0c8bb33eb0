"""Log lines: their contents in both formats, and secrets that they never contain."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from select import PIPE_BUF
from typing import Any
from uuid import UUID

import pytest

from promo_api.errors import NotFound
from promo_api.telemetry.logs import REQUEST_ID, JsonLines, TextLines

_ID = UUID("6fa459ea-ee8a-3ca4-894e-db77e160355e")
_SECRET = "ann@example.com"


@pytest.fixture
def request_id() -> Iterator[str]:
    """The id of the current request."""
    token = REQUEST_ID.set("abc-1")
    yield "abc-1"
    REQUEST_ID.reset(token)


def _record(event: str = "something", logger: str = "promo_api.x", **fields: Any) -> logging.LogRecord:
    extra = fields.pop("extra", None)
    return logging.getLogger(logger).makeRecord(
        logger, logging.WARNING, "/srv/x.py", 7, event, fields.get("args", ()), fields.get("exc_info"), "f", extra
    )


def _json(record: logging.LogRecord) -> dict[str, Any]:
    line = JsonLines().format(record)
    assert "\n" not in line
    fields: dict[str, Any] = json.loads(line)
    return fields


def _raised(fail: Callable[[], object]) -> Any:
    try:
        fail()
    except Exception:  # noqa: BLE001 a test may raise any exception
        return sys.exc_info()
    raise AssertionError


def test_json_line(request_id: str) -> None:
    """A line is one JSON object: the common fields, the request id, and the fields of the event."""
    before = datetime.now(UTC)
    record = _record(extra={"user_id": _ID, "attempt": 1, "reason": 'two\nlines, "quoted"'})
    fields = _json(record)
    at = datetime.fromisoformat(fields.pop("at"))
    assert abs((at - before).total_seconds()) < 10
    assert at.utcoffset() is not None
    assert fields == {
        "level": "warning",
        "event": "something",
        "process": record.process,
        "request_id": request_id,
        "user_id": str(_ID),
        "attempt": 1,
        "reason": 'two\nlines, "quoted"',
    }


def test_times() -> None:
    """Times are in UTC, with milliseconds."""
    record = _record()
    record.created, record.msecs = 1_735_689_599.007, 7.0
    assert _json(record)["at"] == "2024-12-31T23:59:59.007Z"


def test_line_outside_a_request() -> None:
    """Outside of requests a line has no request id."""
    assert "request_id" not in _json(_record())


def test_text_line(request_id: str) -> None:
    """The text format has the same fields, on one line even if a value has line breaks."""
    record = _record(extra={"user_id": _ID, "attempt": 1, "reason": 'two\nlines, "quoted"', "nothing": ""})
    at, rest = TextLines().format(record).split(" ", 1)
    assert at == _json(record)["at"]
    assert rest == (
        f"WARNING [{record.process}] something request_id={request_id} user_id={_ID} attempt=1 "
        r'reason="two\nlines, \"quoted\"" nothing=""'
    )


def _fail_with_a_value() -> None:
    try:
        {}[_SECRET]
    except KeyError as error:
        raise ValueError(f"no {_SECRET}") from error


@pytest.mark.parametrize("lines", [JsonLines(), TextLines()])
def test_traceback(lines: logging.Formatter) -> None:
    """A traceback has files, lines and exception types of all causes, but no messages, which may be secret."""
    line = lines.format(_record(exc_info=_raised(_fail_with_a_value))).replace("\\n", "\n")
    assert "in _fail_with_a_value\n" in line
    assert "builtins.ValueError\n\nCaused by:\nTraceback" in line
    assert "builtins.KeyError" in line
    assert _SECRET not in line


def test_traceback_of_our_errors() -> None:
    """The message of an exception of this project repeats no input, so it is logged."""
    error = NotFound("There is no such promo.")
    fields = _json(_record(exc_info=(NotFound, error, None)))
    assert fields["traceback"].endswith("promo_api.errors.NotFound: There is no such promo.")


def test_traceback_of_an_exception_group() -> None:
    """Of an exception group the first exception is logged."""
    error = ExceptionGroup(_SECRET, [KeyError(_SECRET), ValueError()])
    fields = _json(_record(exc_info=(ExceptionGroup, error, None)))
    assert fields["traceback"].endswith("builtins.KeyError")
    assert _SECRET not in fields["traceback"]


def _fail_again(times: int) -> None:
    if not times:
        raise LookupError
    try:
        _fail_again(times - 1)
    except (LookupError, ValueError) as error:
        raise ValueError from error


def test_long_traceback() -> None:
    """A long traceback is truncated so that its line is atomic; the first cause remains."""
    record = _record(exc_info=_raised(lambda: _fail_again(50)), extra={"reason": "x" * 200})
    line = JsonLines().format(record)
    assert len(line.encode()) < PIPE_BUF
    assert json.loads(line)["traceback"].startswith("...")
    assert json.loads(line)["traceback"].endswith("builtins.LookupError")


def test_long_message() -> None:
    """A long message of a library is truncated so that its line is atomic."""
    assert len(JsonLines().format(_record("x" * 10_000, "gunicorn.error"))) < PIPE_BUF


@pytest.mark.parametrize(
    ("logger", "event"),
    [("gunicorn.error", "gunicorn"), ("uvicorn.error", "uvicorn"), ("py.warnings", "python_warning")],
)
def test_messages_of_known_libraries(logger: str, event: str) -> None:
    """The first line of a message of the servers, or of a Python warning, is logged; colours are not."""
    record = _record("Booting %s\n  more", logger, args=("worker",), extra={"color_message": "\x1b[31m"})
    fields = _json(record)
    assert (fields["event"], fields["message"]) == (event, "Booting worker")
    assert "color_message" not in fields


def test_messages_of_other_libraries() -> None:
    """Messages of other libraries may repeat input, so only their location is logged."""
    error = _raised(_fail_with_a_value)
    fields = _json(_record(f"Task failed: {_SECRET}", "asyncio", exc_info=error, extra={"value": _SECRET}))
    assert (fields["event"], fields["logger"], fields["location"]) == ("library", "asyncio", "x:7")
    assert "ValueError" in fields["traceback"]
    assert _SECRET not in str(fields)


_UNCAUGHT = """
import logging, sys, threading, warnings
from promo_api.telemetry.logs import set_up_logging
from promo_api.config.values import LogFormat

set_up_logging(LogFormat.JSON)
# Not one string: tracebacks contain source lines, since Python 3.13 also those of `python -c`.
SECRET = ["ann", "example.com"]

class Broken:
    def __del__(self):
        raise KeyError("@".join(SECRET))

def fail():
    raise ValueError("@".join(SECRET))

thread = threading.Thread(target=fail, name="sweeper")
thread.start()
thread.join()
thread = threading.Thread(target=sys.exit, name="exits")
thread.start()
thread.join()
Broken()
warnings.warn("this is old", UserWarning)
logging.getLogger("connexion.x").warning("not logged")
fail()
"""


def test_uncaught_exceptions() -> None:
    """Uncaught exceptions of any thread and Python's warnings are lines like any other."""
    ended = subprocess.run([sys.executable, "-c", _UNCAUGHT], capture_output=True, text=True, timeout=30, check=False)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [(line["event"], line["level"], line.get("source")) for line in lines] == [
        ("uncaught_exception", "critical", "sweeper"),
        ("uncaught_exception", "critical", "finalizer"),
        ("python_warning", "warning", None),
        ("uncaught_exception", "critical", "main thread"),
    ]
    assert lines[2]["message"].endswith("UserWarning: this is old")
    assert "in fail" in lines[0]["traceback"]
    assert _SECRET not in ended.stderr
