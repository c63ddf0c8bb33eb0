"""The containers as they run: confined, with the settings of .env, and none of their data lost whatever ends."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from promo_api.sandbox.processes import wait_until
from tests.accounts import Account
from tests.e2e.container.deployment import Deployment
from tests.e2e.container.engine import Engine
from tests.e2e.load import Rush

_PATIENCE_S = 90
_SERVICES = ["web", "key", "roles", "migrate", "grants", "antifraud", "postgres", "redis"]
_STATUS = "import pathlib; print(*(p.read_text() for p in pathlib.Path('/proc').glob('[0-9]*/status')))"


@dataclass
class Belongings:
    """A company, its UNIQUE promo and a user who uses it, and what must be known of them later on."""

    company: Account
    user: Account
    promo_id: str
    codes: list[str]
    got: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, deployment: Deployment) -> "Belongings":
        """Sign them up, and activate a few times."""
        company, user = deployment.people.sign_up_company(), deployment.people.sign_up_user()
        codes = [f"lasting-code-{number}" for number in range(40)]
        made = cls(company, user, company.create_promo(promo_unique=codes), codes)
        for _ in range(3):
            made.activate()
        return made

    def activate(self) -> None:
        """Get one more code, which nobody has got before."""
        answer = self.user.post(f"/user/promo/{self.promo_id}/activate")
        assert answer.status_code == 200, answer.text
        value = answer.json()["promo"]
        assert value in self.codes
        assert value not in self.got
        self.got.append(value)

    def assert_kept(self) -> None:
        """Assert that accounts, tokens, promo and activations are as before, and that it goes on from there."""
        assert self.user.get("/user/profile").json()["email"] == self.user.body["email"]
        assert [promo["promo_id"] for promo in self.company.get("/business/promo").json()] == [self.promo_id]
        self.assert_counted()
        self.activate()
        self.assert_counted()

    def assert_counted(self) -> None:
        """Assert that each activation is counted once, whoever asks."""
        number = len(self.got)
        assert self.company.get(f"/business/promo/{self.promo_id}").json()["used_count"] == number
        stat = self.company.get(f"/business/promo/{self.promo_id}/stat").json()
        assert stat["activations_count"] == number
        assert self.user.get("/user/promo/history").headers["X-Total-Count"] == str(number)


@pytest.fixture(scope="module")
def belongings(deployment: Deployment) -> Belongings:
    """Those whose data must be kept through all tests of this module."""
    return Belongings.make(deployment)


def test_confined(deployment: Deployment) -> None:
    """Every process of the service is of user 10001, without capabilities, and can gain none."""
    told = deployment.inside("web", "python", "-c", _STATUS).splitlines()
    for name, value in {"Uid:": "10001", "Gid:": "10001", "CapEff:": "0" * 16, "NoNewPrivs:": "1"}.items():
        found = [line.split()[1:] for line in told if line.split()[:1] == [name]]
        assert len(found) >= 4
        assert {each for values in found for each in values} == {value}


@pytest.mark.parametrize("service", ["web", "antifraud", "postgres", "redis"])
def test_health(deployment: Deployment, service: str) -> None:
    """What serves is healthy."""
    assert wait_until(lambda: deployment.state(service)["Health"]["Status"] == "healthy", _PATIENCE_S)


def test_all_is_well(deployment: Deployment) -> None:
    """`check` finds nothing to say, and what is to be done once has been."""
    deployment.assert_well()
    assert {deployment.state(service)["ExitCode"] for service in ("key", "roles", "migrate", "grants")} == {0}


def test_secrets(engine: Engine, deployment: Deployment) -> None:
    """The secrets are made at the first start, and stand in no log, no command line and nothing that Docker shows."""
    secrets = deployment.environment
    assert {len(secret) for secret in secrets.values()} == {64}
    assert len(set(secrets.values())) == 3
    for service in _SERVICES:
        container = deployment.container(service)
        shown = engine.docker("inspect", container) + engine.log(container)
        if service in ("web", "postgres", "redis"):
            shown += engine.docker("top", container, "-o", "pid,args")
        assert not [name for name, secret in secrets.items() if secret in shown], service
    mode = deployment.inside("web", "python", "-c", "import os; print(oct(os.stat('/var/lib/promo').st_mode))")
    assert mode.strip() == "0o40700"


def test_limits(engine: Engine, deployment: Deployment) -> None:
    """Each container has a limit of memory, processes and open files, and the processes of the service see the last."""
    for service in _SERVICES:
        limits = engine.inspect(deployment.container(service))["HostConfig"]
        assert 0 < limits["Memory"] <= 1024**3, service
        assert 0 < limits["PidsLimit"] <= 1024, service
        assert limits["Ulimits"] == [{"Name": "nofile", "Hard": 16384, "Soft": 16384}], service
    assert deployment.inside("web", "sh", "-c", "ulimit -n").strip() == "16384"


def test_role_of_the_service(deployment: Deployment) -> None:
    """The service's role is no superuser and owns nothing, and no superuser can connect over the network."""
    service = "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = 'promo'"
    assert deployment.sql(service).strip() == "f|f|f"
    assert (
        deployment.sql("SELECT count(*) FROM pg_shdepend WHERE refobjid = 'promo'::regrole AND deptype = 'o'") == "0\n"
    )
    assert deployment.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == "promo_owner\n"
    assert deployment.sql("SELECT rolname FROM pg_authid WHERE rolsuper AND rolpassword IS NOT NULL") == ""
    # The folder of the owner's password in the image, without the volume that has the password.
    assert deployment.inside("web", "ls", "-A", "/var/lib/promo-owner") == ""


def test_redis_asks_for_its_password(deployment: Deployment) -> None:
    """Redis refuses a client without the password."""
    assert "NOAUTH" in deployment.inside("redis", "redis-cli", "ping")


def test_restart(engine: Engine, deployment: Deployment, belongings: Belongings) -> None:
    """After `docker restart` all goes on."""
    engine.docker("restart", "-t", "30", deployment.container("web"))
    deployment.await_service()
    belongings.assert_kept()


@pytest.mark.parametrize("victim", ["worker", "web", "postgres", "redis"])
def test_sigkill(deployment: Deployment, belongings: Belongings, victim: str) -> None:
    """Whatever is killed under way comes back by itself, and no code is lost or issued twice."""
    rush = Rush(deployment)  # type: ignore[arg-type]
    with rush.going_on():
        if victim == "worker":
            deployment.kill_worker()
        else:
            deployment.kill(victim)
        deployment.await_service()
    codes = rush.values[rush.promos[1]]
    assert len(codes) == len(set(codes))
    assert set(codes) <= deployment.issued(rush.promos[1])
    deployment.assert_well()
    belongings.assert_kept()


def test_down_and_up(deployment: Deployment, belongings: Belongings) -> None:
    """Containers that are removed and made anew find their data and the key, so that tokens still hold."""
    deployment.compose("down")
    assert not deployment.answers()
    deployment.up()
    belongings.assert_kept()


def test_stop_within_a_request(engine: Engine, deployment: Deployment, belongings: Belongings) -> None:
    """A setting that is added to .env is taken over; `docker stop` then lets a request end that takes a while."""
    with (deployment.folder / ".env").open("a", encoding="utf-8") as settings:
        settings.write("ANTIFRAUD_READ_TIMEOUT_S=30\n")
    deployment.up()
    web, email = deployment.container("web"), belongings.user.body["email"]
    deployment.steer(user_email=email, delay_ms=60_000)
    calls = deployment.calls(email)
    with ThreadPoolExecutor(2) as threads:
        activation = threads.submit(belongings.activate)
        assert wait_until(lambda: deployment.calls(email) == calls + 1, _PATIENCE_S)
        stop = threads.submit(engine.docker, "stop", "-t", "30", web)
        assert wait_until(lambda: "Handling signal: term" in deployment.log, _PATIENCE_S)
        deployment.forget()
        activation.result(_PATIENCE_S)
        stop.result(_PATIENCE_S)
    state = engine.inspect(web)["State"]
    assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 0, False)
    assert "stop_timed_out" not in deployment.log
    deployment.up()
    belongings.assert_kept()
