"""`tiergate alerts`: what an operator sees and does about alerts that were not taken."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Callable, Iterator

import pytest
from click.testing import Result

from gateway.core.alerts import QuotaAlert
from gateway.ledger import Ledger

Run = Callable[..., Result]


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers as its server says, and keeps what came."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.headers["webhook-id"], json.loads(body)))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver(environment: dict[str, str]) -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.got, server.status = [], 200  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment["TIERGATE_ALERT_URL"] = f"http://127.0.0.1:{server.server_port}/hooks"
    environment["TIERGATE_ALERT_SECRET"] = "whsec_" + "QUJD" * 10
    yield server
    server.shutdown()
    server.server_close()


def record_dead(environment: dict[str, str]) -> str:
    async def do() -> str:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        alert = QuotaAlert(
            customer_id="c1",
            user_id="ada",
            tier="pro",
            limit_name="period",
            counter="q:requests:period",
            meter="requests",
            key_id=None,
            used=801,
            limit=1000,
            percent=80,
            window_starts_at=10,
            window_ends_at=20,
            at=100,
        )
        await ledger.record_alert(alert, ["webhook"])
        (row,) = await ledger.claim_alerts(worker="w", channels=["webhook"], now=100, lease_s=60, limit=1)
        await ledger.bury_alert(row, now=100, error="answered 500")
        await ledger.aclose()
        return alert.alert_id

    return asyncio.run(do())


def test_a_dead_alert_is_seen_and_made_due_again(migrated: Run, environment: dict[str, str]) -> None:
    alert_id = record_dead(environment)
    listed = migrated("alerts", "list", "--status", "dead").output
    assert alert_id in listed
    assert "answered 500" in listed
    shown = json.loads(migrated("alerts", "list", "--json").stdout)
    assert shown["by_status"] == {"pending": 0, "claimed": 0, "dead": 1}
    assert shown["alerts"][0]["body"]["data"]["percent"] == 80
    assert migrated("alerts", "retry", alert_id).exit_code == 0
    assert json.loads(migrated("alerts", "list", "--json").stdout)["by_status"]["pending"] == 1
    refused = migrated("alerts", "retry", "alert_x")
    assert (refused.exit_code, "no alert 'alert_x'" in refused.output) == (1, True)


def test_the_way_can_be_tried(migrated: Run, receiver: http.server.ThreadingHTTPServer) -> None:
    result = migrated("alerts", "test")
    assert result.exit_code == 0, result.output
    ((event_id, event),) = receiver.got  # type: ignore[attr-defined]
    assert (event["type"], event_id in result.output) == ("alerts.test", True)
    receiver.status = 500  # type: ignore[attr-defined]
    result = migrated("alerts", "test")
    assert (result.exit_code, "webhook: not taken, answered 500" in result.output) == (1, True)


def test_without_a_way_there_is_nothing_to_try(migrated: Run) -> None:
    result = migrated("alerts", "test")
    assert (result.exit_code, "No way is set" in result.output) == (1, True)
