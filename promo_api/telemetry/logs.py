"""Structured log lines: a constant event and fields, never a body, token, e-mail address or code.

`_log.warning("service_unavailable", extra={"reason": ...})`; docs/operations.md lists the events.
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

from promo_api.config.values import LogFormat
from promo_api.telemetry.log_stream import LogStream

_log = logging.getLogger(__name__)

# "" outside of requests.
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")

_OUR_PACKAGES = ("promo_api", "persistence", "handlers")
# Their messages cannot contain request data.
_TRUSTED_LOGGERS = {"gunicorn.error": "gunicorn", "uvicorn.error": "uvicorn", "py.warnings": "python_warning"}
_STANDARD_ATTRIBUTES = {*vars(logging.makeLogRecord({})), "message", "asctime"}
# At most PIPE_BUF together, so that lines do not mix.
_MESSAGE_MAX, _TRACEBACK_MAX = 500, 3000
_FRAMES = 16
_UNQUOTED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/+")


def set_up_logging(log_format: LogFormat) -> None:
    """Log to standard error, with Python warnings and uncaught exceptions."""
    if sys.stderr is None:
        # Closed: open it, or a connection would get its descriptor.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 PTH123 it stays open
    handler = LogStream(sys.stderr.fileno())
    handler.setFormatter(JsonLines() if log_format is LogFormat.JSON else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # A fifth of the cost of a line.
    logging.logThreads = logging.logMultiprocessing = False
    # Their messages repeat request data.
    for name in ("connexion", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
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
