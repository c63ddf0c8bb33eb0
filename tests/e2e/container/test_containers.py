"""The running containers: restrictions, settings, and no lost data after restarts and kills."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from promo_api.dev.processes import wait_until
from tests.accounts import Account
from tests.e2e.container.deployment import Deployment
from tests.e2e.container.engine import Engine
from tests.e2e.load import ActivationLoad

_TIMEOUT_S = 90
_SERVICES = ["web", "key", "roles", "migrate", "grants", "antifraud", "postgres", "redis"]
_STATUS = "import pathlib; print(*(p.read_text() for p in pathlib.Path('/proc').glob('[0-9]*/status')))"


@dataclass
class StoredData:
    """A company, its UNIQUE promo and a user with activations, which must survive all tests of this module."""

    company: Account
    user: Account
    promo_id: str
    codes: list[str]
    issued: list[str] = field(default_factory=list)

    @classmethod
    def create(cls, deployment: Deployment) -> "StoredData":
        """Create the accounts and the promo, and activate it a few times."""
        company, user = deployment.accounts.sign_up_company(), deployment.accounts.sign_up_user()
        codes = [f"lasting-code-{number}" for number in range(40)]
        stored = cls(company, user, company.create_promo(promo_unique=codes), codes)
        for _ in range(3):
            stored.activate()
        return stored

    def activate(self) -> None:
        """Activate the promo; the code must be new."""
        response = self.user.post(f"/user/promo/{self.promo_id}/activate")
        assert response.status_code == 200, response.text
        value = response.json()["promo"]
        assert value in self.codes
        assert value not in self.issued
        self.issued.append(value)

    def assert_intact(self) -> None:
        """Assert that accounts, tokens, promo and activations still exist, and that activations still work."""
        assert self.user.get("/user/profile").json()["email"] == self.user.body["email"]
        assert [promo["promo_id"] for promo in self.company.get("/business/promo").json()] == [self.promo_id]
        self.assert_counted()
        self.activate()
        self.assert_counted()

    def assert_counted(self) -> None:
        """Assert that all operations return the same count of activations."""
        number = len(self.issued)
        assert self.company.get(f"/business/promo/{self.promo_id}").json()["used_count"] == number
        stat = self.company.get(f"/business/promo/{self.promo_id}/stat").json()
        assert stat["activations_count"] == number
        assert self.user.get("/user/promo/history").headers["X-Total-Count"] == str(number)


@pytest.fixture(scope="module")
def stored_data(deployment: Deployment) -> StoredData:
    """Data that must survive all tests of this module."""
    return StoredData.create(deployment)


def test_privileges(deployment: Deployment) -> None:
    """All processes of the service run as user 10001 without capabilities and cannot gain any."""
    lines = deployment.inside("web", "python", "-c", _STATUS).splitlines()
    for name, value in {"Uid:": "10001", "Gid:": "10001", "CapEff:": "0" * 16, "NoNewPrivs:": "1"}.items():
        values = [line.split()[1:] for line in lines if line.split()[:1] == [name]]
        assert len(values) >= 4
        assert {each for row in values for each in row} == {value}


@pytest.mark.parametrize("service", ["web", "antifraud", "postgres", "redis"])
def test_health(deployment: Deployment, service: str) -> None:
    """Long-running containers are healthy."""
    assert wait_until(lambda: deployment.state(service)["Health"]["Status"] == "healthy", _TIMEOUT_S)


def test_check(deployment: Deployment) -> None:
    """The command `check` succeeds, and all one-off containers have succeeded."""
    deployment.assert_well()
    assert {deployment.state(service)["ExitCode"] for service in ("key", "roles", "migrate", "grants")} == {0}


def test_secrets(engine: Engine, deployment: Deployment) -> None:
    """Secrets are generated at the first start, and appear in no log, command line or metadata of Docker."""
    secrets = deployment.environment
    assert {len(secret) for secret in secrets.values()} == {64}
    assert len(set(secrets.values())) == 3
    for service in _SERVICES:
        container = deployment.container(service)
        visible = engine.docker("inspect", container) + engine.log(container)
        if service in ("web", "postgres", "redis"):
            visible += engine.docker("top", container, "-o", "pid,args")
        assert not [name for name, secret in secrets.items() if secret in visible], service
    mode = deployment.inside("web", "python", "-c", "import os; print(oct(os.stat('/var/lib/promo').st_mode))")
    assert mode.strip() == "0o40700"


def test_limits(engine: Engine, deployment: Deployment) -> None:
    """Each container has limits for memory, processes and open files. The service has the limit of open files."""
    for service in _SERVICES:
        limits = engine.inspect(deployment.container(service))["HostConfig"]
        assert 0 < limits["Memory"] <= 1024**3, service
        assert 0 < limits["PidsLimit"] <= 1024, service
        assert limits["Ulimits"] == [{"Name": "nofile", "Hard": 16384, "Soft": 16384}], service
    assert deployment.inside("web", "sh", "-c", "ulimit -n").strip() == "16384"


def test_database_roles(deployment: Deployment) -> None:
    """The role of the service is no superuser and owns nothing. No superuser can connect over the network."""
    service = "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = 'promo'"
    assert deployment.sql(service).strip() == "f|f|f"
    assert (
        deployment.sql("SELECT count(*) FROM pg_shdepend WHERE refobjid = 'promo'::regrole AND deptype = 'o'") == "0\n"
    )
    assert deployment.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == "promo_owner\n"
    assert deployment.sql("SELECT rolname FROM pg_authid WHERE rolsuper AND rolpassword IS NOT NULL") == ""
    # The volume with the password of the owner is not mounted here.
    assert deployment.inside("web", "ls", "-A", "/var/lib/promo-owner") == ""


def test_redis_requires_a_password(deployment: Deployment) -> None:
    """Redis rejects a client without the password."""
    assert "NOAUTH" in deployment.inside("redis", "redis-cli", "ping")


def test_restart(engine: Engine, deployment: Deployment, stored_data: StoredData) -> None:
    """`docker restart` loses no data."""
    engine.docker("restart", "-t", "30", deployment.container("web"))
    deployment.await_service()
    stored_data.assert_intact()


@pytest.mark.parametrize("victim", ["worker", "web", "postgres", "redis"])
def test_sigkill(deployment: Deployment, stored_data: StoredData, victim: str) -> None:
    """A killed process is restarted during load, and no code is lost or issued twice."""
    load = ActivationLoad(deployment)  # type: ignore[arg-type]
    with load.running():
        if victim == "worker":
            deployment.kill_worker()
        else:
            deployment.kill(victim)
        deployment.await_service()
    codes = load.codes[load.promos[1]]
    assert len(codes) == len(set(codes))
    assert set(codes) <= deployment.issued(load.promos[1])
    deployment.assert_well()
    stored_data.assert_intact()


def test_down_and_up(deployment: Deployment, stored_data: StoredData) -> None:
    """Containers that are removed and created again keep the data and the secret key."""
    deployment.compose("down")
    assert not deployment.responds()
    deployment.up()
    stored_data.assert_intact()


def test_stop_during_a_request(engine: Engine, deployment: Deployment, stored_data: StoredData) -> None:
    """A new setting in .env takes effect. `docker stop` waits for a slow request."""
    with (deployment.folder / ".env").open("a", encoding="utf-8") as settings:
        settings.write("ANTIFRAUD_READ_TIMEOUT_S=30\n")
    deployment.up()
    web, email = deployment.container("web"), stored_data.user.body["email"]
    deployment.configure_antifraud(user_email=email, delay_ms=60_000)
    calls = deployment.calls(email)
    with ThreadPoolExecutor(2) as threads:
        activation = threads.submit(stored_data.activate)
        assert wait_until(lambda: deployment.calls(email) == calls + 1, _TIMEOUT_S)
        stop = threads.submit(engine.docker, "stop", "-t", "30", web)
        assert wait_until(lambda: "Handling signal: term" in deployment.log, _TIMEOUT_S)
        deployment.reset_antifraud()
        activation.result(_TIMEOUT_S)
        stop.result(_TIMEOUT_S)
    state = engine.inspect(web)["State"]
    assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 0, False)
    assert "stop_timed_out" not in deployment.log
    deployment.up()
    stored_data.assert_intact()
