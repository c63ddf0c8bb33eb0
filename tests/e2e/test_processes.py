"""The server as a process: stop, restart and killed workers."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import psutil
import requests

from promo_api.dev.processes import wait_gone, wait_until
from tests.e2e.environment import Environment
from tests.e2e.server import Server, run_command

_HEAP_BYTES = 2**26


def test_restart_between_activations(own_server: Server) -> None:
    """A restart keeps all data and tokens, and no code is issued twice."""
    company, user = own_server.accounts.sign_up_company(), own_server.accounts.sign_up_user()
    codes = [f"restart-code-{number}" for number in range(4)]
    promo_id = company.create_promo(promo_unique=codes)
    path = f"/user/promo/{promo_id}"
    user.post(f"{path}/like")
    before = [user.post(f"{path}/activate").json()["promo"] for _ in range(2)]
    own_server.restart()
    after = [user.post(f"{path}/activate").json()["promo"] for _ in range(2)]
    assert sorted(before + after) == codes
    assert user.get(path).json()["like_count"] == 1
    assert company.get(f"/business/promo/{promo_id}").json()["used_count"] == 4


def test_killed_worker(own_server: Server) -> None:
    """After a worker is killed, requests still succeed, and the worker is replaced."""
    user = own_server.accounts.sign_up_user()
    before = {worker.pid for worker in own_server.workers()}
    own_server.kill_worker()
    assert {user.get("/user/profile").status_code for _ in range(10)} == {200}
    assert wait_until(lambda: len({worker.pid for worker in own_server.workers()} - before) == 1, 20)
    assert {user.get("/user/profile").status_code for _ in range(10)} == {200}


def test_killed_workers_during_activations(own_server: Server) -> None:
    """If workers are killed during activations, no code is issued twice, and each received code is stored."""
    company, user = own_server.accounts.sign_up_company(), own_server.accounts.sign_up_user()
    codes = [f"mortal-code-{number}" for number in range(80)]
    promo_id = company.create_promo(promo_unique=codes)

    def activate(number: int) -> list[str]:
        if number in (15, 35):
            own_server.kill_worker()
        try:
            response = user.post(f"/user/promo/{promo_id}/activate")
        except requests.ConnectionError:
            return []
        return [response.json()["promo"]] if response.status_code == 200 else []

    with ThreadPoolExecutor(8) as threads:
        received = [value for values in threads.map(activate, range(60)) for value in values]
    while value := activate(-1):
        received += value
    lost = company.get(f"/business/promo/{promo_id}/stat").json()["activations_count"] - len(received)
    assert len({*received}) == len(received)
    # Stored, but the worker died before it responded: at most one for each thread of each killed worker.
    assert 0 <= lost <= 2 * 8
    assert company.get(f"/business/promo/{promo_id}").json()["used_count"] == 80 == len(received) + lost


def test_threads_share_one_heap(own_server: Server) -> None:
    """Threads share one malloc arena. Arenas per thread would retain the memory of their largest responses."""
    assert own_server.accounts.sign_up_user().get("/user/profile").status_code == 200
    assert [worker for worker in own_server.workers() if _heaps_of_threads(worker)] == []


def _heaps_of_threads(process: psutil.Process) -> list[str]:
    """Return the addresses of malloc arenas of threads: glibc reserves 64 MiB for each, and uses the first part."""
    maps = [line.split() for line in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8").splitlines()]
    places = [(access, *(int(address, 16) for address in place.split("-"))) for place, access, *_ in maps]
    return [
        f"{start:x}"
        for (used, start, middle), (unused, reserved, end) in pairwise(places)
        if (used, unused) == ("rw-p", "---p") and middle == reserved and end - start == _HEAP_BYTES
    ]


def test_stop(own_server: Server) -> None:
    """SIGTERM ends the server and its workers with exit status 0."""
    workers = own_server.workers()
    assert len(workers) == 2
    assert own_server.end() == 0
    assert wait_gone(workers, 5)
    assert not own_server.responds()
    assert own_server.tracebacks() == []


def test_stop_during_a_request(env: Environment) -> None:
    """A request that is running during a stop gets its response, and its effect is stored."""
    user = env.server.accounts.sign_up_user()
    promo_id = env.server.accounts.sign_up_company().create_promo(promo_common="last-words")
    env.configure_antifraud(user_email=user.body["email"], delay_ms=60_000)
    with ThreadPoolExecutor(2) as threads:
        activation = threads.submit(user.post, f"/user/promo/{promo_id}/activate")
        assert wait_until(lambda: env.antifraud_calls(user.body["email"]) == 1, 10)
        end = threads.submit(env.server.end)
        assert wait_until(lambda: "Handling signal: term" in env.server.log, 10)
        env.reset_antifraud()
        assert activation.result(30).json() == {"promo": "last-words"}
        assert end.result(30) == 0
    env.server.start()
    assert user.get("/user/promo/history").headers["X-Total-Count"] == "1"


def test_port_in_use(own_server: Server, tmp_path: Path) -> None:
    """A server whose port is in use reports it and exits with an error. The first server is not affected."""
    done = run_command(own_server.environment, "serve", folder=tmp_path)
    assert done.returncode not in (0, None)
    assert "in use" in done.stderr
    assert str(own_server.port) in done.stderr
    assert own_server.responds()


def test_restart_with_open_connections(own_server: Server) -> None:
    """A server can restart on its port at once, even if clients had open connections."""
    with own_server.remote.get("/api/ping", headers={"Connection": "keep-alive"}, stream=True):
        own_server.restart()
    assert own_server.responds()
    assert psutil.pid_exists(own_server.workers()[0].pid)


def test_invalid_settings(tmp_path: Path) -> None:
    """With invalid settings each command exits with status 2, and names all of them without secret values."""
    environment = {"SECRET_KEY": "t00-short", "POSTGRES_PORT": "many", "SERVER_WORKERS": "0"}
    for command in ("serve", "migrate"):
        done = run_command(environment, command, folder=tmp_path)
        assert done.returncode == 2
        assert all(name in done.stderr for name in (*environment, "ANTIFRAUD_ADDRESS"))
        assert "t00-short" not in done.stdout + done.stderr
