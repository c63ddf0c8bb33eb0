"""Dockerfile and docker-compose.yml agree with each other, with the settings and with the code."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import promo_api
from promo_api.config.settings import Settings
from promo_api.config.values import Address
from tests.pages import page

_ROOT = Path(__file__).parents[2]
_DOCKERFILE = (_ROOT / "Dockerfile").read_text(encoding="utf-8")
_README = (_ROOT / "README.md").read_text(encoding="utf-8")
_COMPOSE = yaml.safe_load((_ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
_SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]
# Services that run our image with the settings of .env.
_OURS = ["web", "migrate", "key"]
# Services that exit when their work is done.
_ONE_OFF = ["key", "roles", "migrate", "grants"]
# Variables of .env that Compose itself reads.
_OF_COMPOSE = {"OWNER_USERNAME", "OWNER_PASSWORD", "PUBLISHED_PORT", "PUBLISHED_METRICS_PORT"}
_DONE, _HEALTHY = {"condition": "service_completed_successfully"}, {"condition": "service_healthy"}


def _example() -> dict[str, str]:
    lines = (_ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _instructions(name: str) -> list[str]:
    """Return the arguments of all instructions of a name, in order, with their lines joined."""
    text = re.sub(r"^\s*#.*\n", "", _DOCKERFILE, flags=re.MULTILINE).replace("\\\n", "")
    return re.findall(rf"^{name}\s+(.*)$", text, re.MULTILINE)


def test_example_fits_the_containers() -> None:
    """The hosts in .env.example are services of the compose file, and published ports are those of the settings."""
    example = _example()
    hosts = {example["POSTGRES_HOST"], example["REDIS_HOST"], Address.parse(example["ANTIFRAUD_ADDRESS"]).host}
    assert hosts == {"postgres", "redis", "antifraud"} <= _SERVICES.keys()
    port, metrics_port = (Address.parse(example[name]).port for name in ("SERVER_ADDRESS", "METRICS_ADDRESS"))
    assert _SERVICES["web"]["ports"] == [
        f"${{PUBLISHED_PORT:-127.0.0.1:8000}}:{port}",
        f"127.0.0.1:${{PUBLISHED_METRICS_PORT:-9464}}:{metrics_port}",
    ]
    assert _instructions("EXPOSE") == [f"{port} {metrics_port}"]
    stub = Address.parse(_SERVICES["antifraud"]["command"][-1])
    assert stub.port == Address.parse(example["ANTIFRAUD_ADDRESS"]).port


@pytest.mark.parametrize("name", _OURS)
def test_service_gets_all_settings(name: str) -> None:
    """All settings of .env reach the service; the other variables of the container are settings too."""
    service = _SERVICES[name]
    assert service["env_file"] == ".env"
    variables = service.get("environment", {})
    assert {variable.lower() for variable in variables.keys() - _OF_COMPOSE} <= Settings.__dataclass_fields__.keys()
    assert "SECRET_KEY" not in variables


def test_two_roles() -> None:
    """The service never gets the password of the role that migrates, and nothing else uses the superuser."""
    web, migrate, roles, grants = (_SERVICES[name]["environment"] for name in ("web", "migrate", "roles", "grants"))
    assert web["OWNER_PASSWORD"] == ""
    assert "owner-key" not in str(_SERVICES["web"]["volumes"])
    assert web["POSTGRES_USERNAME"] == roles["POSTGRES_USERNAME"] == grants["SERVICE"] == "${POSTGRES_USERNAME:-promo}"
    owner = "${OWNER_USERNAME:-promo_owner}"
    assert migrate["POSTGRES_USERNAME"] == roles["OWNER_USERNAME"] == grants["PGUSER"] == owner
    assert {name for name in _SERVICES if "postgres-socket" in str(_SERVICES[name].get("volumes"))} == {
        "postgres",
        "roles",
    }
    assert roles["POSTGRES_DATABASE"] == _SERVICES["postgres"]["environment"]["POSTGRES_DB"] == web["POSTGRES_DATABASE"]


@pytest.mark.parametrize("name", ["REDIS_PASSWORD", "POSTGRES_PASSWORD", "SECRET_KEY"])
def test_no_secret_in_the_file(name: str) -> None:
    """The compose file names files of secrets, and no secret of the service."""
    assert f"{name}_FILE" in _SERVICES["web"]["environment"]
    assert name not in _SERVICES["web"]["environment"]
    assert "requirepass" not in str(_COMPOSE)


@pytest.mark.parametrize("name", _SERVICES)
def test_limits(name: str) -> None:
    """Each container has a limit of memory, of processes and of open files."""
    service = _SERVICES[name]
    assert re.fullmatch(r"\d+m|1g", service["mem_limit"])
    assert 64 <= service["pids_limit"] <= 1024
    assert service["ulimits"] == {"nofile": {"soft": 16384, "hard": 16384}}


def test_open_files_of_the_unit() -> None:
    """The systemd unit allows as many open files as the containers."""
    unit = (_ROOT / "deploy" / "systemd" / "promo.service").read_text(encoding="utf-8")
    [limit] = re.findall(r"^LimitNOFILE=(\d+)$", unit, re.MULTILINE)
    assert int(limit) == _SERVICES["web"]["ulimits"]["nofile"]["hard"]


@pytest.mark.parametrize("name", ["postgres", "redis", "roles", "grants"])
def test_images_are_pinned(name: str) -> None:
    """Images of others are pinned by minor version or by digest."""
    assert re.fullmatch(r"(postgres|redis):\d+\.\d+-alpine(@sha256:[0-9a-f]{64})?", _SERVICES[name]["image"])
    assert _SERVICES["roles"]["image"] == _SERVICES["grants"]["image"] == _SERVICES["postgres"]["image"]


@pytest.mark.parametrize("name", _SERVICES)
def test_containers_are_confined(name: str) -> None:
    """Containers cannot write elsewhere, gain privileges or fill the disk with logs; only one publishes ports."""
    service = _SERVICES[name]
    assert service["read_only"] is (name != "postgres")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert ("ports" in service) == (name == "web")
    assert ("cap_add" in service) == (name in ("postgres", "redis"))


@pytest.mark.parametrize("name", _SERVICES)
def test_containers_restart(name: str) -> None:
    """Servers restart when they exit and have a health check; the service has that of its image."""
    service, serves = _SERVICES[name], name not in _ONE_OFF
    assert service.get("restart") == ("unless-stopped" if serves else None)
    assert (service.get("healthcheck") == {"disable": True}) == (not serves)
    assert ("healthcheck" in service) == (name != "web")


def test_start_order() -> None:
    """The containers start in order: secrets, roles, migrations, grants, service."""
    assert _SERVICES["roles"]["depends_on"] == {"key": _DONE, "postgres": _HEALTHY}
    assert _SERVICES["migrate"]["depends_on"] == {"roles": _DONE}
    assert _SERVICES["grants"]["depends_on"] == {"migrate": _DONE}
    assert _SERVICES["web"]["depends_on"]["grants"] == _DONE
    assert _SERVICES["redis"]["depends_on"] == {"key": _DONE}


def test_every_volume_is_used() -> None:
    """Data and secrets are in named volumes. The only folder of the host is deploy/, read-only."""
    mounted = {volume for service in _SERVICES.values() for volume in service.get("volumes", [])}
    assert {volume for volume in mounted if volume.startswith(".")} == {"./deploy:/deploy:ro"}
    used = {volume.partition(":")[0] for volume in mounted} - {"./deploy"}
    volumes = {"key", "owner-key", "postgres", "postgres-socket", "redis", "redis-key"}
    assert used == _COMPOSE["volumes"].keys() == volumes


def test_stop_grace_period() -> None:
    """The grace period covers the drain, the stop timeout and 10 s."""
    grace_s = int(_SERVICES["web"]["stop_grace_period"].removesuffix("s"))
    assert grace_s == Settings.server_drain_s + Settings.server_stop_timeout_s + 10
    assert _instructions("STOPSIGNAL") == ["SIGTERM"]


def test_build_context() -> None:
    """.dockerignore includes exactly the files that the image copies."""
    lines = (_ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = {words.split()[0] for words in _instructions("COPY") if not words.startswith("--from")}
    assert {name.removeprefix("!") for name in lines if name.startswith("!")} == copied
    assert all((_ROOT / name).exists() for name in copied)
    assert lines[0] == "*"
    assert lines[-1] == "**/__pycache__"


def test_two_build_stages() -> None:
    """Both stages have the same base, a supported Python. The image runs as a numeric user, not as root."""
    build, final = (words.removesuffix(" AS build") for words in _instructions("FROM"))
    assert build == final
    version = re.fullmatch(r"python:(3\.\d+)-slim", final)
    assert version is not None
    assert re.search(rf"Python [0-9., or]*\b{re.escape(version[1])}\b", _README)
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", _instructions("USER")[-1])


def test_image_labels() -> None:
    """The labels are those of setup.cfg, and the command runs without a shell."""
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', _instructions("LABEL")[0]))
    setup = (_ROOT / "setup.cfg").read_text(encoding="utf-8")
    matches = {name: re.search(rf"^{name} = (.*)$", setup, re.MULTILINE) for name in ("name", "description", "license")}
    named = {name: match[1] for name, match in matches.items() if match is not None}
    assert labels == {
        "title": named["name"],
        "description": named["description"],
        "version": promo_api.__version__,
        "licenses": named["license"],
    }
    assert json.loads(_instructions("CMD")[0]) == ["python", "-m", "promo_api", "serve"]


def test_health_check_port() -> None:
    """Without SERVER_ADDRESS the health check uses the default port."""
    assert f"or ':{Settings.server_address.port}')" in _instructions("HEALTHCHECK")[0]


def test_page_and_compose_file_have_the_same_command() -> None:
    """The deployment page and docker-compose.yml show the same command."""
    command = "cp .env.example .env && docker compose up -d --build"
    assert f"\n{command}" in page("docs/deployment.md")
    assert command in (_ROOT / "docker-compose.yml").read_text(encoding="utf-8")
