"""Log lines: one event each, with a constant name and fields; never a body, a token, an e-mail address or a code.

An event is logged as `_log.warning("dependency_down", extra={"reason": ..., "retry_after_s": ...})`.
docs/operations.md lists all events; a test compares it with the code. What libraries log comes out in the same form,
but their own words only where these are known to repeat nothing that was sent.
"""

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from traceback import format_tb
from typing import Any

import orjson

from promo_api.log_stream import LogStream
from promo_api.setting_values import LogFormat

_log = logging.getLogger(__name__)

# The id of the request that is worked on, in the event loop and in the handler's thread; "": none.
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")

_OURS = ("promo_api", "persistence", "handlers")
# The loggers of libraries whose words are shown, and what their events are called.
_KNOWN = {"gunicorn.error": "gunicorn", "uvicorn.error": "uvicorn", "py.warnings": "python_warning"}
_OF_EVERY_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime"}
# Lines are at most PIPE_BUF bytes, so that those of several processes do not mix; see log_stream.
_MESSAGE_MAX, _TRACEBACK_MAX = 500, 3000
_FRAMES = 16
# What stands in a text line as it is.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/+")


def set_up_logging(log_format: LogFormat) -> None:
    """Write log lines of level INFO and above to standard error, Python's warnings and uncaught exceptions too."""
    if sys.stderr is None:
        # It is closed. Else the next connection would get its number, and what a library writes there.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 PTH123 it stays open
    handler = LogStream(sys.stderr.fileno())
    handler.setFormatter(JsonLines() if log_format is LogFormat.JSON else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # No line tells them, and to find them out is a fifth of what a line costs.
    logging.logThreads = logging.logMultiprocessing = False
    # What Connexion says of a request repeats what was sent, and what it says at the start helps nobody.
    for name in ("connexion", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)
    sys.excepthook = lambda _kind, error, _trace: _tell_uncaught("main thread", error)
    sys.unraisablehook = lambda told: _tell_uncaught("finalizer", told.exc_value)
    threading.excepthook = lambda told: _tell_uncaught(told.thread.name if told.thread else "", told.exc_value)


@contextmanager
def lines_together() -> Iterator[None]:
    """Write the lines of a block at its end, at once."""
    with ExitStack() as stack:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, LogStream):
                stack.enter_context(handler.together())
        yield


class JsonLines(logging.Formatter):
    """A line for programs: a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        return orjson.dumps(_told(record), default=str).decode()


class TextLines(logging.Formatter):
    """A line for people: when, how bad, which process, the event, and its fields as name=value; then the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        told = _told(record)
        traceback = told.pop("traceback", "")
        first = f"{told.pop('at')} {told.pop('level').upper()} [{told.pop('process')}] {told.pop('event')}"
        fields = [f"{name}={_shown(value)}" for name, value in told.items()]
        return "\n".join([" ".join([first, *fields]), *traceback.splitlines()])


def _told(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a line tells, by name."""
    told: dict[str, Any] = {
        "at": f"{_second(int(record.created))}.{int(record.msecs):03d}Z",
        "level": record.levelname.lower(),
        "event": "",
        "process": record.process,
    }
    request_id = REQUEST_ID.get()
    if request_id:
        told["request_id"] = request_id
    if record.name.partition(".")[0] in _OURS:
        told["event"] = record.msg
        told |= {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
    elif record.name in _KNOWN:
        told["event"] = _KNOWN[record.name]
        told["message"] = record.getMessage().strip().partition("\n")[0][:_MESSAGE_MAX]
    else:
        told["event"] = "library"
        told.update(logger=record.name, place=f"{record.module}:{record.lineno}")
    if record.exc_info and record.exc_info[1] is not None:
        told["traceback"] = _traceback(record.exc_info[1])
    return told


@lru_cache(maxsize=1)
def _second(since_1970_s: int) -> str:
    return datetime.fromtimestamp(since_1970_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _shown(value: object) -> str:
    text = str(value)
    return text if text and _PLAIN.issuperset(text) else orjson.dumps(text).decode()


def _traceback(error: BaseException) -> str:
    """Return where an exception comes from, the first cause last, and in full if all is too long.

    What an exception says may be a value that was sent: `KeyError: 'ann@example.com'`. So it is left out, unless the
    exception is one of ours, which repeat nothing.
    """
    text = "\n\nCaused by:\n".join(_with_frames(each) for each in _causes(error))
    return text if len(text) <= _TRACEBACK_MAX else f"...{text[-_TRACEBACK_MAX:]}"


def _with_frames(error: BaseException) -> str:
    kind = type(error)
    said = f": {error}" if kind.__module__.partition(".")[0] in _OURS else ""
    frames = "".join(format_tb(error.__traceback__, -_FRAMES))
    return f"Traceback (most recent call last):\n{frames}{kind.__module__}.{kind.__qualname__}{said}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what led to it; of a group, what led to the first one in it."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        else:
            cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _tell_uncaught(place: str, error: BaseException | None) -> None:
    if not isinstance(error, SystemExit):
        _log.critical("uncaught_exception", extra={"place": place}, exc_info=error)
