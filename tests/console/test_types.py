"""The types of the console's modules."""

import shutil
import subprocess
from pathlib import Path

from promo_api.console import pages
from tests.npm import assert_locked, install, run_npm

_PROJECT = Path(__file__).with_name("typescript")


def _copy(folder: Path) -> None:
    console = Path(pages.__file__).parent
    install(_PROJECT, folder)
    shutil.copytree(console / "static", folder / "static")
    for name in ("jsconfig.json", "types.d.ts"):
        shutil.copy(console / name, folder)


def _check(folder: Path) -> "subprocess.CompletedProcess[str]":
    return run_npm(folder, "exec", "--", "tsc", "--project", "jsconfig.json")


def test_types(tmp_path: Path) -> None:
    """TypeScript finds no error in the modules, in strict mode."""
    _copy(tmp_path)
    done = _check(tmp_path)
    assert (done.stdout, done.returncode) == ("", 0)


def test_types_find_errors(tmp_path: Path) -> None:
    """The check sees the modules: a call with a wrong argument is an error."""
    _copy(tmp_path)
    (tmp_path / "static/wrong.js").write_text('import { text } from "./core/text.js";\ntext(1);\n', encoding="utf-8")
    done = _check(tmp_path)
    assert "static/wrong.js(2,6): error" in done.stdout


def test_lock_file() -> None:
    """The lock file matches package.json."""
    assert_locked(_PROJECT)
