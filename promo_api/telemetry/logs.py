"""Structured log lines: a constant event and fields, never a body, token, e-mail address or code.

`_log.warning("service_unavailable", extra={"reason": ...})`; docs/operations.md lists the events.
"""

import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from traceback import format_tb
from typing import Any

import orjson

from promo_api.config.values import LogFormat
from promo_api.telemetry.log_stream import LogStream

_log = logging.getLogger(__name__)

# "" outside of requests.
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")

_OUR_PACKAGES = ("promo_api", "persistence", "handlers")
# Their messages cannot contain request data.
_TRUSTED_LOGGERS = {"gunicorn.error": "gunicorn", "uvicorn.error": "uvicorn", "py.warnings": "python_warning"}
# Messages of Connexion and Alembic repeat request data.
_LEVELS = {"connexion": logging.ERROR, "alembic": logging.ERROR, "promo_api.telemetry.request_log": logging.INFO}
_STANDARD_ATTRIBUTES = {*vars(logging.makeLogRecord({})), "message", "asctime"}
# At most PIPE_BUF together, so that lines do not mix.
_MESSAGE_MAX, _TRACEBACK_MAX = 500, 3000
_FRAMES = 16
_COMMON_FIELDS = {"at", "level", "event", "process", "request_id"}
# Green, yellow and red, by the first digit of a status.
_COLOURS = {"2": 32, "4": 33, "5": 31}
_UNQUOTED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/+")


def set_up_logging(log_format: LogFormat) -> None:
    """Log to standard error, with Python warnings and uncaught exceptions. DEV: requests and warnings only."""
    if sys.stderr is None:
        # Closed: open it, or a connection would get its descriptor.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 PTH123 it stays open
    handler = LogStream(sys.stderr.fileno())
    handler.setFormatter(_formatter(log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING if log_format is LogFormat.DEV else logging.INFO)
    # A fifth of the cost of a line.
    logging.logThreads = logging.logMultiprocessing = False
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
    sys.excepthook = lambda _kind, error, _trace: _log_uncaught("main thread", error)
    sys.unraisablehook = lambda hook: _log_uncaught("finalizer", hook.exc_value)
    threading.excepthook = lambda hook: _log_uncaught(hook.thread.name if hook.thread else "", hook.exc_value)


@contextmanager
def buffered_lines() -> Iterator[None]:
    """Write the lines of a block together."""
    with ExitStack() as stack:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, LogStream):
                stack.enter_context(handler.buffered())
        yield


def _formatter(log_format: LogFormat) -> logging.Formatter:
    if log_format is LogFormat.DEV:
        return DevLines(coloured=sys.stderr.isatty())
    return JsonLines() if log_format is LogFormat.JSON else TextLines()


class JsonLines(logging.Formatter):
    """Formats a record as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return orjson.dumps(_fields(record), default=str).decode()


class TextLines(logging.Formatter):
    """Formats a record for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, then the traceback."""
        fields = _fields(record)
        traceback = fields.pop("traceback", "")
        first = f"{fields.pop('at')} {fields.pop('level').upper()} [{fields.pop('process')}] {fields.pop('event')}"
        rest = [f"{name}={_quoted(value)}" for name, value in fields.items()]
        return "\n".join([" ".join([first, *rest]), *traceback.splitlines()])


class DevLines(logging.Formatter):
    """Formats a record for the terminal of a developer, in local time."""

    def __init__(self, *, coloured: bool) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """Return a short line for a request; else the line, then the traceback."""
        fields = _fields(record)
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        if fields["event"] == "dev_request":
            return f"{time} {self._request(fields)}"
        traceback = fields.pop("traceback", "")
        rest = [f"{name}={_quoted(value)}" for name, value in fields.items() if name not in _COMMON_FIELDS]
        first = " ".join([time, fields["level"].upper(), fields["event"], *rest])
        return "\n".join([first, *traceback.splitlines()])

    def _request(self, fields: Mapping[str, Any]) -> str:
        status = str(fields["status"] or "cut")
        if self._coloured and status[0] in _COLOURS:
            status = f"\033[{_COLOURS[status[0]]}m{status}\033[0m"
        return f"{fields['method'] or 'unreadable'} {fields['path']} {status} {fields['duration_ms']} ms"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "at": f"{_second(int(record.created))}.{int(record.msecs):03d}Z",
        "level": record.levelname.lower(),
        "event": "",
        "process": record.process,
    }
    request_id = REQUEST_ID.get()
    if request_id:
        fields["request_id"] = request_id
    if record.name.partition(".")[0] in _OUR_PACKAGES:
        fields["event"] = record.msg
        fields |= {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}
    elif record.name in _TRUSTED_LOGGERS:
        fields["event"] = _TRUSTED_LOGGERS[record.name]
        fields["message"] = record.getMessage().strip().partition("\n")[0][:_MESSAGE_MAX]
    else:
        fields["event"] = "library"
        fields.update(logger=record.name, location=f"{record.module}:{record.lineno}")
    if record.exc_info and record.exc_info[1] is not None:
        fields["traceback"] = _traceback(record.exc_info[1])
    return fields


@lru_cache(maxsize=1)
def _second(since_1970_s: int) -> str:
    return datetime.fromtimestamp(since_1970_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _quoted(value: object) -> str:
    text = str(value)
    return text if text and _UNQUOTED.issuperset(text) else orjson.dumps(text).decode()


def _traceback(error: BaseException) -> str:
    """Return the end of the traceback, the root cause last.

    Only our own exceptions show messages: others may contain request data (`KeyError: 'ann@example.com'`).
    """
    text = "\n\nCaused by:\n".join(_with_frames(each) for each in _causes(error))
    return text if len(text) <= _TRACEBACK_MAX else f"...{text[-_TRACEBACK_MAX:]}"


def _with_frames(error: BaseException) -> str:
    kind = type(error)
    message = f": {error}" if kind.__module__.partition(".")[0] in _OUR_PACKAGES else ""
    frames = "".join(format_tb(error.__traceback__, -_FRAMES))
    return f"Traceback (most recent call last):\n{frames}{kind.__module__}.{kind.__qualname__}{message}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        else:
            cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _log_uncaught(source: str, error: BaseException | None) -> None:
    if not isinstance(error, SystemExit):
        _log.critical("uncaught_exception", extra={"source": source}, exc_info=error)
