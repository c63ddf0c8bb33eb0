"""deploy/make_secrets.py: a value of .env, else the existing secret, else a new one."""

import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).parents[2] / "deploy" / "make_secrets.py"
_FILES = ["service/secret-key", "service/postgres-password", "owner/password", "redis/password"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the three folders of the volumes."""
    for name in ("service", "owner", "redis"):
        (tmp_path / name).mkdir()
    return tmp_path


def _make(folder: Path, **environment: str) -> dict[str, str]:
    """Run the script, and return the secrets by file."""
    folders = [str(folder / name) for name in ("service", "owner", "redis")]
    subprocess.run([sys.executable, _SCRIPT, *folders], env=environment, check=True, timeout=30)
    assert not list(folder.glob("*/*.unfinished"))
    return {name: (folder / name).read_text() for name in _FILES}


def test_secrets_are_made_once(folder: Path) -> None:
    """The first start makes four different secrets, and the next start keeps them."""
    secrets = _make(folder)
    assert len(set(secrets.values())) == 4
    assert {len(secret) for secret in secrets.values()} == {64}
    assert _make(folder) == secrets


def test_passwords_of_the_environment(folder: Path) -> None:
    """Passwords of .env are used, replace earlier ones, and stay when they are taken out of .env."""
    key = _make(folder)["service/secret-key"]
    secrets = _make(folder, POSTGRES_PASSWORD="one", OWNER_PASSWORD="two", REDIS_PASSWORD="three")
    assert secrets == dict(zip(_FILES, [key, "one", "two", "three"], strict=True))
    assert _make(folder) == secrets


def test_modes(folder: Path) -> None:
    """Only the files for Redis, which runs as another user, can be read by others."""
    _make(folder)
    modes = {str(file.relative_to(folder)): oct(file.stat().st_mode & 0o777) for file in folder.glob("*/*")}
    assert modes == dict.fromkeys(_FILES[:3], "0o600") | {"redis/password": "0o644", "redis/redis.conf": "0o644"}


def test_interrupted_start(folder: Path) -> None:
    """A file that an interrupted start left is replaced, and does not become a secret."""
    (folder / "owner" / "password.unfinished").write_text("half")
    assert "half" not in _make(folder)["owner/password"]


def test_redis_configuration(folder: Path) -> None:
    """The password is escaped in the file of Redis, so it can have any characters."""
    _make(folder, REDIS_PASSWORD='a"\\ é')
    escaped = "\\x61\\x22\\x5c\\x20\\xc3\\xa9"
    assert (folder / "redis" / "redis.conf").read_text() == f'requirepass "{escaped}"\n'
