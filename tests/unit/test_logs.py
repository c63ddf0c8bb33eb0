"""Log lines: what stands in them, in both formats, and what never does."""

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
    """The id of the request that is worked on."""
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
    told: dict[str, Any] = json.loads(line)
    return told


def _raised(fail: Callable[[], object]) -> Any:
    try:
        fail()
    except Exception:  # noqa: BLE001 whatever a test lets fail
        return sys.exc_info()
    raise AssertionError


def test_json_line(request_id: str) -> None:
    """A line is one object: what every line has, the id of the request, and the fields of the event by their names."""
    before = datetime.now(UTC)
    record = _record(extra={"user_id": _ID, "attempt": 1, "reason": 'two\nlines, "quoted"'})
    told = _json(record)
    at = datetime.fromisoformat(told.pop("at"))
    assert abs((at - before).total_seconds()) < 10
    assert at.utcoffset() is not None
    assert told == {
        "level": "warning",
        "event": "something",
        "process": record.process,
        "request_id": request_id,
        "user_id": str(_ID),
        "attempt": 1,
        "reason": 'two\nlines, "quoted"',
    }


def test_instants() -> None:
    """An instant is UTC, to the millisecond."""
    record = _record()
    record.created, record.msecs = 1_735_689_599.007, 7.0
    assert _json(record)["at"] == "2024-12-31T23:59:59.007Z"


def test_no_request() -> None:
    """Beside requests a line has no id of one."""
    assert "request_id" not in _json(_record())


def test_text_line(request_id: str) -> None:
    """A line for people has the same, in one line, whatever stands in a field."""
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
    """A traceback tells where, through all causes, and which kinds of exceptions; what these say may be secret."""
    line = lines.format(_record(exc_info=_raised(_fail_with_a_value))).replace("\\n", "\n")
    assert "in _fail_with_a_value\n" in line
    assert "builtins.ValueError\n\nCaused by:\nTraceback" in line
    assert "builtins.KeyError" in line
    assert _SECRET not in line


def test_traceback_of_ours() -> None:
    """What an exception of ours says repeats nothing, and is told."""
    error = NotFound("There is no such promo.")
    told = _json(_record(exc_info=(NotFound, error, None)))
    assert told["traceback"].endswith("promo_api.errors.NotFound: There is no such promo.")


def test_traceback_of_a_group() -> None:
    """Of several exceptions at once the first is told of."""
    error = ExceptionGroup(_SECRET, [KeyError(_SECRET), ValueError()])
    told = _json(_record(exc_info=(ExceptionGroup, error, None)))
    assert told["traceback"].endswith("builtins.KeyError")
    assert _SECRET not in told["traceback"]


def _fail_again(times: int) -> None:
    if not times:
        raise LookupError
    try:
        _fail_again(times - 1)
    except (LookupError, ValueError) as error:
        raise ValueError from error


def test_long_traceback() -> None:
    """However long a traceback would be, its line is written in one piece; the first cause is what stays of it."""
    record = _record(exc_info=_raised(lambda: _fail_again(50)), extra={"reason": "x" * 200})
    line = JsonLines().format(record)
    assert len(line.encode()) < PIPE_BUF
    assert json.loads(line)["traceback"].startswith("...")
    assert json.loads(line)["traceback"].endswith("builtins.LookupError")


def test_long_words() -> None:
    """Nor is a line too long in which a library has much to say."""
    assert len(JsonLines().format(_record("x" * 10_000, "gunicorn.error"))) < PIPE_BUF


@pytest.mark.parametrize(
    ("logger", "event"),
    [("gunicorn.error", "gunicorn"), ("uvicorn.error", "uvicorn"), ("py.warnings", "python_warning")],
)
def test_words_of_known_libraries(logger: str, event: str) -> None:
    """What the servers and Python's warnings say is told, the first line of it; what they add for terminals is not."""
    record = _record("Booting %s\n  more", logger, args=("worker",), extra={"color_message": "\x1b[31m"})
    told = _json(record)
    assert (told["event"], told["message"]) == (event, "Booting worker")
    assert "color_message" not in told


def test_words_of_other_libraries() -> None:
    """What others say may repeat what was sent: of them it is told where in the library they say it."""
    error = _raised(_fail_with_a_value)
    told = _json(_record(f"Task failed: {_SECRET}", "asyncio", exc_info=error, extra={"value": _SECRET}))
    assert (told["event"], told["logger"], told["location"]) == ("library", "asyncio", "x:7")
    assert "ValueError" in told["traceback"]
    assert _SECRET not in str(told)


_UNCAUGHT = """
import logging, sys, threading, warnings
from promo_api.telemetry.logs import set_up_logging
from promo_api.config.values import LogFormat

set_up_logging(LogFormat.JSON)
# Not as one text: the lines of the program are told, and from Python 3.13 on also of one that is in no file.
SECRET = ["ann", "example.com"]

class Broken:
    def __del__(self):
        raise KeyError("@".join(SECRET))

def fail():
    raise ValueError("@".join(SECRET))

thread = threading.Thread(target=fail, name="sweeper")
thread.start()
thread.join()
thread = threading.Thread(target=sys.exit, name="ends in order")
thread.start()
thread.join()
Broken()
warnings.warn("this is old", UserWarning)
logging.getLogger("connexion.x").warning("nobody reads it")
fail()
"""


def test_uncaught_exceptions() -> None:
    """What nobody catches, in any thread, is a line like any other, and so are Python's warnings."""
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
