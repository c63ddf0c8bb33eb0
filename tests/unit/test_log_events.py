"""Log events: docs/operations.md lists those of the code, and all are logged in the same way."""

import ast
import logging
import re
from collections.abc import Iterator
from typing import NamedTuple

from promo_api.telemetry.logs import _STANDARD_ATTRIBUTES, _TRUSTED_LOGGERS
from tests.cases import all_cases
from tests.unit.source import ROOT, files, tree

_LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
_PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
# Events without a call of a logger: lines of libraries, and the one that LogStream writes itself.
_LIBRARIES = {*_TRUSTED_LOGGERS.values(), "library"}
_LOST = ("log_lines_lost", "warning", ("lost",))


class Row(NamedTuple):
    """A row of the table of events."""

    event: str
    level: str
    fields: tuple[str, ...]


def _calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of a logger's method, with its module."""
    for module in files():
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _LEVELS:
                owner = ast.unparse(node.func.value)
                if owner in ("_log", "logging", "logger", "self._log"):
                    yield module, node


def _fields(call: ast.Call) -> tuple[str, ...]:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    extra = keywords.get("extra")
    fields: list[str] = []
    if isinstance(extra, ast.Dict):
        fields = [str(key.value) for key in extra.keys if isinstance(key, ast.Constant)]
    return (*fields, *(["traceback"] if "exc_info" in keywords else []))


def _row(call: ast.Call) -> Row:
    assert isinstance(call.func, ast.Attribute)
    assert isinstance(call.args[0], ast.Constant)
    fields = [name for name in _fields(call) if name != "request_id"]
    return Row(str(call.args[0].value), call.func.attr, tuple(fields))


def _listed() -> list[Row]:
    rows = re.findall(r"^\| ([a-z_]+) \| ([a-z]+) \| ([a-z_, ]*) \| .+ \|$", _PAGE, re.MULTILINE)
    return [Row(event, level, tuple(fields.split(", ") if fields.strip() else ())) for event, level, fields in rows]


CALLS = list(_calls())


@all_cases("call", [call for _, call in CALLS])
def test_events_are_constant(call: ast.Call) -> None:
    """An event is a constant name, and its fields do not have the names of the common fields."""
    assert len(call.args) == 1
    assert isinstance(call.args[0], ast.Constant)
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", str(call.args[0].value))
    assert {keyword.arg for keyword in call.keywords} <= {"extra", "exc_info"}
    extra = [keyword.value for keyword in call.keywords if keyword.arg == "extra"]
    for fields in extra:
        assert isinstance(fields, ast.Dict)
        assert all(isinstance(key, ast.Constant) for key in fields.keys)
    names = set(_fields(call))
    assert names & (_STANDARD_ATTRIBUTES | {"at", "level", "event", "message", "logger"}) == set()


def test_loggers_are_made_in_one_way() -> None:
    """Every module logs through `_log`, named after the module, which identifies our own events."""
    for module in files():
        calls = [
            node for node in ast.walk(tree(module)) if isinstance(node, ast.Call) and "getLogger" in ast.dump(node)
        ]
        texts = {ast.unparse(node) for node in calls if ast.unparse(node.func) == "logging.getLogger"}
        allowed = {"logging.getLogger(__name__)"}
        if module == "promo_api.__main__":
            allowed = {"logging.getLogger('promo_api')"}  # __name__ is "__main__"
        if module in ("promo_api.telemetry.logs", "promo_api.server.gunicorn_app"):
            allowed |= {"logging.getLogger()", "logging.getLogger(name)"}
        assert texts <= allowed, module


def test_page_lists_the_events() -> None:
    """docs/operations.md has each event of the code with its level and its fields, and no other."""
    logged = {_row(call) for _, call in CALLS} | {Row(*_LOST)}
    listed = _listed()
    assert len(listed) == len({row.event for row in listed})
    assert {row for row in listed if row.event not in _LIBRARIES} == logged
    assert {row.event for row in listed} - {row.event for row in logged} == _LIBRARIES


def test_levels_are_those_of_the_page() -> None:
    """The page explains each level that is used."""
    explained = set(re.findall(r"`(info|warning|error|critical)`:", _PAGE))
    assert {row.level for row in _listed()} == explained | {"any"}
    assert explained <= {logging.getLevelName(level).lower() for level in (10, 20, 30, 40, 50)}
