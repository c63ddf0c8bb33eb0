"""What a server logs when it starts."""

from pathlib import Path

from tests.e2e.environment import assert_no_secrets
from tests.e2e.server import Server


def test_warnings(e2e_environment: dict[str, str], tmp_path: Path) -> None:
    """A deprecated setting and a missing anti-fraud service are logged once each, not by every worker."""
    changes = {"ANTIFRAUD_ADDRESS": "none", "ANTIFRAUD_TURN_TIMEOUT_S": "5", "SERVER_WORKERS": "2"}
    with Server(e2e_environment | changes, tmp_path) as server:
        user, promo_id = server.accounts.sign_up_user(), server.accounts.sign_up_company().create_promo()
        assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200
        assert server.accounts.call("GET", "/health").json()["status"] == "ok"
    warnings = [line["event"] for line in server.lines() if line["level"] == "warning"]
    assert warnings == ["setting_renamed", "antifraud_disabled"]
    assert_no_secrets(server)
