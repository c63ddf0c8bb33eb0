"""deploy/backup.sh and deploy/restore_drill.sh, on a real PostgreSQL."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from persistence.migrations import update_schema
from promo_api.app import create_app
from promo_api.config.settings import Settings
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.postgres_programs import program
from promo_api.runtime import Runtime
from tests.accounts import Api
from tests.pages import ROOT

pytestmark = pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed (Debian: util-linux)")

_TIMEOUT_S = 300
_OLD = [f"promo-2026010{day}T033000Z.dump" for day in (1, 2, 3)]


@dataclass
class Backups:
    """A folder of backups of a database with one activation."""

    folder: Path
    postgres: EmbeddedPostgres
    variables: dict[str, str] = field(default_factory=dict)

    def back_up(self, *before: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run backup.sh, after these commands of the shell."""
        return self._run("backup.sh", before, variables)

    def drill(self, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run restore_drill.sh."""
        return self._run("restore_drill.sh", (), variables)

    def names(self) -> list[str]:
        """Return the names of all files in the folder."""
        return sorted(file.name for file in self.folder.iterdir())

    def newest(self) -> Path:
        """Return the newest backup."""
        return self.folder / self.names()[-1]

    def add_old(self) -> None:
        """Add three old backups."""
        for name in _OLD:
            (self.folder / name).write_text("old")

    def execute(self, statement: str, database: str = "promo") -> list[Any]:
        """Run a statement; return its rows."""
        place: dict[str, Any] = {"host": self.postgres.host, "port": self.postgres.port, "user": self.postgres.username}
        with psycopg.connect(**place, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def databases(self) -> set[str]:
        """Return the names of all databases."""
        return {name for (name,) in self.execute("SELECT datname::text FROM pg_database", "postgres")}

    def _run(
        self, script: str, before: tuple[str, ...], variables: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        own = {
            "PATH": f"{program('pg_dump').parent}:{os.environ['PATH']}",
            "PGHOST": self.postgres.host,
            "PGPORT": str(self.postgres.port),
            "PGUSER": self.postgres.username,
            "PYTHON": sys.executable,
        }
        command = "\n".join((*before, f'exec "{ROOT}/deploy/{script}" "{self.folder}"'))
        return subprocess.run(
            ["/bin/bash", "-c", command],
            env=own | variables,
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )


@pytest.fixture(scope="module")
def postgres(environment: dict[str, str]) -> Iterator[EmbeddedPostgres]:
    """A server with a database in which a user has activated a promo."""
    # Not in pytest's folder: another run of pytest makes it inaccessible to PostgreSQL's user.
    with (
        TemporaryDirectory(prefix="promo-", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server,
    ):
        server.create_database("promo")
        place = {
            "POSTGRES_HOST": server.host,
            "POSTGRES_PORT": str(server.port),
            "POSTGRES_USERNAME": server.username,
            "POSTGRES_DATABASE": "promo",
        }
        runtime = Runtime.open(Settings.from_environment(environment | place))
        update_schema(runtime.database.engine)
        with TestClient(create_app(runtime), raise_server_exceptions=False) as client:
            api = Api(client)
            promo_id = api.sign_up_company().create_promo(promo_unique=[f"code-{number}" for number in range(500)])
            assert api.sign_up_user().post(f"/user/promo/{promo_id}/activate").status_code == 200
        yield server


@pytest.fixture
def backups(postgres: EmbeddedPostgres, tmp_path: Path) -> Backups:
    """An empty folder for backups."""
    folder = tmp_path / "it's the folder"
    folder.mkdir()
    return Backups(folder, postgres)


def test_backup_and_drill(backups: Backups) -> None:
    """A backup can be restored: the drill prints the numbers of rows, and leaves no database behind."""
    done = backups.back_up()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"Backup .*/promo-\d{8}T\d{6}Z\.dump written: \d+ bytes\. 0 old backups deleted\.\n", done.stdout
    )
    [name] = backups.names()
    assert (backups.folder / name).stat().st_mode & 0o777 == 0o600
    before = backups.databases()
    done = backups.drill()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        rf"Restore drill succeeded: .*/{name}, 0 hours old, was restored and checked in \d+ s\. "
        r"It has 1 companies, 1 users, 1 promos and 1 activations\.\n",
        done.stdout,
    )
    assert backups.databases() == before


def test_retention(backups: Backups) -> None:
    """The newest backups are kept, and other files stay."""
    backups.add_old()
    (backups.folder / "notes").write_text("mine")
    done = backups.back_up(BACKUP_KEEP="2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" 2 old backups deleted.\n")
    assert backups.names() == ["notes", _OLD[-1], backups.newest().name]


@pytest.mark.parametrize(
    ("before", "variables"),
    [
        ((), {"PGDATABASE": "missing"}),
        ((), {"PGHOST": "/nowhere"}),
        # A full disk: no file may be larger than 8 KiB.
        (("trap '' XFSZ", "ulimit -f 8"), {}),
    ],
    ids=["no database", "no server", "full disk"],
)
def test_failed_backup(backups: Backups, before: tuple[str, ...], variables: dict[str, str]) -> None:
    """A failed backup leaves the old backups as they are, and nothing else."""
    backups.add_old()
    done = backups.back_up(*before, BACKUP_KEEP="1", **variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(
        r"^Backup failed: pg_dump could not write .*\. The older backups are unchanged\.$", done.stderr, re.MULTILINE
    )
    assert backups.names() == _OLD


def test_incomplete_backup(backups: Backups) -> None:
    """A backup that can't be read back is a failed one, even if pg_dump reported success."""
    backups.add_old()
    programs = backups.folder.parent / "programs"
    programs.mkdir()
    (programs / "pg_dump").write_text(f'#!/bin/sh\n{program("pg_dump")} "$@" && truncate -s -1000 "${{2#--file=}}"\n')
    (programs / "pg_dump").chmod(0o755)
    done = backups.back_up(f'PATH="{programs}:$PATH"', BACKUP_KEEP="1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("can't be read back. The older backups are unchanged.\n")
    assert backups.names() == _OLD


def test_killed_backup(backups: Backups) -> None:
    """The next backup deletes the unfinished file of a killed backup."""
    (backups.folder / "promo-20260101T033000Z.dump.partial").write_text("half")
    assert backups.back_up().returncode == 0
    assert [name.rpartition(".")[2] for name in backups.names()] == ["dump"]


def test_concurrent_backup(backups: Backups) -> None:
    """A second backup into the folder fails at once."""
    descriptor = os.open(backups.folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        done = backups.back_up()
    finally:
        os.close(descriptor)
    assert (done.returncode, done.stdout, backups.names()) == (1, "", [])
    assert "is running" in done.stderr


@pytest.mark.parametrize("keep", ["0", "many", "-1"])
def test_invalid_retention(backups: Backups, keep: str) -> None:
    """An invalid number of backups changes nothing."""
    backups.add_old()
    done = backups.back_up(BACKUP_KEEP=keep)
    assert (done.returncode, done.stderr) == (2, "BACKUP_KEEP must be a number from 1.\n")
    assert backups.names() == _OLD


@pytest.mark.parametrize("damage", ["bytes", "end"])
def test_drill_finds_a_damaged_backup(backups: Backups, damage: str) -> None:
    """A backup with changed bytes, or without its end, fails the drill."""
    assert backups.back_up().returncode == 0
    newest = backups.newest()
    content = bytearray(newest.read_bytes())
    if damage == "end":
        del content[-len(content) // 4 :]
    else:
        content[-3000:-2900] = bytes(byte ^ 0xFF for byte in content[-3000:-2900])
    newest.write_bytes(content)
    before = backups.databases()
    done = backups.drill()
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(rf"^Restore drill failed: .*{newest.name} can't be restored\.$", done.stderr, re.MULTILINE)
    assert backups.databases() == before


def test_drill_finds_wrong_data(backups: Backups) -> None:
    """A backup whose stored counts are wrong fails the drill, which names them."""
    backups.execute("UPDATE promo_counters SET like_count = like_count + 1")
    try:
        assert backups.back_up().returncode == 0
    finally:
        backups.execute("UPDATE promo_counters SET like_count = like_count - 1")
    done = backups.drill()
    assert (done.returncode, done.stdout) == (1, "")
    assert "FAIL  counts" in done.stderr
    assert "likes of promos (for 1)" in done.stderr
    assert done.stderr.endswith(f"{backups.newest().name} are wrong.\n")
    assert "promo_restore_drill" not in backups.databases()


def test_drill_without_a_new_backup(backups: Backups) -> None:
    """The drill fails if there is no backup, or only an old one."""
    done = backups.drill()
    assert (done.returncode, done.stderr) == (1, f"Restore drill failed: {backups.folder} has no backup.\n")
    backups.add_old()
    for name in _OLD:
        os.utime(backups.folder / name, (time.time() - 50 * 3600,) * 2)
    done = backups.drill()
    assert done.returncode == 1
    assert done.stderr.endswith(f"the newest backup, {backups.folder}/{_OLD[-1]}, is 50 hours old.\n")


def test_check_of_subjects(backups: Backups, tmp_path: Path) -> None:
    """`check` checks only the named subjects; an unknown name is an error."""
    variables = {
        "POSTGRES_HOST": backups.postgres.host, "POSTGRES_USERNAME": backups.postgres.username,
        "ANTIFRAUD_ADDRESS": "none", "SECRET_KEY": "x" * 32, "PYTHONPATH": str(ROOT), "REDIS_PORT": "1",
    }  # fmt: skip

    def check(*subjects: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "promo_api", "check", *subjects]
        return subprocess.run(command, env=variables, cwd=tmp_path, check=False, capture_output=True, text=True)

    done = check("schema", "counts")
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["settings", "schema", "counts"]
    assert done.returncode == 0, done.stdout
    done = check("schema", "codes")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Unknown: codes. The subjects are passwords, specification, PostgreSQL, schema,")
