"""The files of the console without a browser: addresses, headers, size and references."""

import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from starlette.types import ASGIApp

from promo_api.console import pages
from promo_api.console.pages import console_pages
from tests.contract.asgi import call
from tests.contract.sample_api import contract, operation, serve
from tests.specification import specification

_FOLDER = Path(pages.__file__).parent / "static"
_FILES = sorted(path for path in _FOLDER.rglob("*") if path.is_file())
_MODULES = {path: path.read_text(encoding="utf-8") for path in _FILES if path.suffix == ".js"}
_MAX_BYTES = 150 * 1024
_MAX_LINES = 200


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    """An application with the console."""
    return serve(tmp_path / "api.json", contract({"/thing": {"get": operation()}}), pages=console_pages())


def test_size() -> None:
    """All files together have at most 150 KiB."""
    assert sum(path.stat().st_size for path in _FILES) <= _MAX_BYTES


def test_policy(app: ASGIApp) -> None:
    """The page may load its own files and call the service, and nothing inline runs."""
    policy = call(app, "GET", "/console/").header("content-security-policy") or ""
    directives = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    allowed = dict.fromkeys(["script-src", "style-src", "img-src", "connect-src"], "'self'")
    refused = dict.fromkeys(["default-src", "base-uri", "form-action", "frame-ancestors"], "'none'")
    trusted = {"require-trusted-types-for": "'script'", "trusted-types": "'none'"}
    assert directives == allowed | refused | trusted


def test_entrance(app: ASGIApp) -> None:
    """The address without a slash leads to the page, also below a prefix."""
    response = call(app, "GET", "/console")
    assert response.status == 307
    location = response.header("location") or ""
    assert urljoin("https://api.example/prefix/console", location) == "https://api.example/prefix/console/"


def test_every_import_is_served(app: ASGIApp) -> None:
    """Each file that the page or a module names is served, as JavaScript if it is a module."""
    page = call(app, "GET", "/console/").content.decode()
    named = {urljoin("/console/", link) for link in re.findall(r'(?:src|href)="([^"]*)"', page)}
    for path, source in _MODULES.items():
        base = f"/console/{path.relative_to(_FOLDER).as_posix()}"
        named |= {urljoin(base, link) for link in re.findall(r'from "([^"]*)"', source)}
    responses = {name: call(app, "GET", name) for name in sorted(named)}
    assert {name: response.status for name, response in responses.items()} == dict.fromkeys(responses, 200)
    types = {response.header("content-type") for name, response in responses.items() if name.endswith(".js")}
    assert types == {"text/javascript; charset=utf-8"}


def test_every_module_is_imported() -> None:
    """No module is left over."""
    imported = {
        (path.parent / link).resolve()
        for path, source in _MODULES.items()
        for link in re.findall(r'from "([^"]*)"', source)
    }
    assert set(_MODULES) - imported == {_FOLDER / "main.js"}


def test_modules_are_checked_and_short() -> None:
    """Each module asks TypeScript to check it, begins with its purpose, and is short."""
    heads = {path.name: source.splitlines()[:2] for path, source in _MODULES.items()}
    assert [name for name, head in heads.items() if head[0] != "// @ts-check" or not head[1].startswith("// ")] == []
    sources = {path.name: source for path, source in _MODULES.items() if path.parent.name != "texts"}
    assert [name for name, source in sources.items() if len(source.splitlines()) > _MAX_LINES] == []


def test_no_other_host() -> None:
    """No file names another host; the namespace of SVG is no address."""
    urls = {url for path in _FILES for url in re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8"))}
    assert urls <= {"http://www.w3.org/2000/svg"}


def test_operations_exist() -> None:
    """The console calls operations of the contract only."""
    operations = {
        declared["operationId"]
        for item in specification()["paths"].values()
        for declared in item.values()
        if isinstance(declared, dict)
    }
    called = {name for source in _MODULES.values() for name in re.findall(r'"((?:business|user)_\w+\.\w+)"', source)}
    assert called
    assert called <= operations


def test_texts_exist_and_are_used() -> None:
    """Each text that a module names exists, and each text is named somewhere."""
    [(texts, source)] = [(path, source) for path, source in _MODULES.items() if path.name == "en.js"]
    others = "\n".join(source for path, source in _MODULES.items() if path != texts)
    named = set(re.findall(r'(?:text|findText)\("([a-z_.]+)"', others))
    keys = _keys(source)
    assert named
    assert named - keys == set()
    sections = ("fields.", "hints.", "violations.")
    assert [key for key in keys if not _is_used(key, others) and not key.startswith(sections)] == []


def _keys(source: str) -> set[str]:
    """Return the names of the texts, such as `promos.title`, by the indentation of the file."""
    found, path = set(), []
    for indent, name, rest in re.findall(r"^(\t+)(\w+): (.*)$", source, re.MULTILINE):
        del path[len(indent) - 1 :]
        path.append(name)
        inner = re.findall(r"(\w+): \"", rest) if rest.startswith("{") else []
        forms = {"one", "other"} & set(inner)
        found |= {".".join(path)} if not inner or forms else {".".join([*path, each]) for each in inner}
    return {key for key in found if "." in key}


def _is_used(key: str, source: str) -> bool:
    """Return whether a module names a text, or a section from which it takes texts by values."""
    steps = key.split(".")
    sections = [".".join(steps[:end]) for end in range(1, len(steps))]
    patterns = [f'"{key}"', f'"{sections[-1]}"', *(f"`{section}.${{" for section in sections)]
    # Names of values, which forms take from the name of a field.
    return sections[-1] in ("mode", "scopes", "event_types", "sort_by") or any(each in source for each in patterns)
