"""The pictures of the README: `python -m tests.console.screenshots` runs the demo, and takes them in Chromium."""

import os
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from selenium.webdriver import Chrome

from promo_api.dev.demo.catalog import MAIN
from promo_api.dev.demo.command import PASSWORD
from promo_api.dev.ports import free_port
from tests.chromium import chromium
from tests.console.browser import Console

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
_WIDTH, _OVERVIEW_HEIGHT, _PROMO_HEIGHT = 1200, 610, 1040
_HOST = "127.0.0.1"
_READY = "API: started"
_STOP_S = 30
_API_TIMEOUT_S = 10


def main() -> None:
    """Take the pictures."""
    FOLDER.mkdir(exist_ok=True)
    port = free_port(_HOST)
    with _demo(port), chromium() as browser:
        url = f"http://{_HOST}:{port}"
        token, promo_id = _sign_in(url)
        console = Console(browser, url)
        console.use_size(_WIDTH, _OVERVIEW_HEIGHT)
        console.open("/", token=token)
        console.until(lambda: console.find(".plot svg rect"))
        _save(browser, FOLDER / "console-overview.png")
        console.use_size(_WIDTH, _PROMO_HEIGHT)
        console.use_colors("dark")
        console.open(f"/promos/{promo_id}", token=token)
        console.click("By country")
        console.see("United Kingdom", ".legend")
        _save(browser, FOLDER / "console-promo.png")


@contextmanager
def _demo(port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "promo_api", "demo"]
    environment = {**os.environ, "SERVER_ADDRESS": f"{_HOST}:{port}"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            sys.stdout.write(line)
            if _READY in line:
                break
        try:
            yield
        finally:
            demo.terminate()
            demo.communicate(timeout=_STOP_S)


def _sign_in(url: str) -> tuple[str, str]:
    """Return the token of the main company, and the id of its promo with the most activations."""
    account = {"email": MAIN.email, "password": PASSWORD}
    token = requests.post(f"{url}/api/business/auth/sign-in", json=account, timeout=_API_TIMEOUT_S).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    promos = requests.get(f"{url}/api/business/promo?limit=100", headers=headers, timeout=_API_TIMEOUT_S).json()
    return token, max(promos, key=lambda promo: promo["used_count"])["promo_id"]


def _save(browser: Chrome, file: Path) -> None:
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": False})
    file.write_bytes(b64decode(shot["data"]))
    sys.stdout.write(f"{file.name}: {file.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
