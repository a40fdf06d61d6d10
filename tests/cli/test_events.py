from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from click.testing import Result

from gateway.ledger import Ledger

Run = Callable[..., Result]


@pytest.fixture
def inbox(migrated: Run, environment: dict[str, str]) -> Run:
    """Three events: one done, one dead, one claimed."""

    async def fill() -> None:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        for number in (1, 2, 3):
            await ledger.store_event(
                event_id=f"evt_{number}",
                type="invoice.paid",
                stripe_customer_id="cus_1",
                livemode=False,
                api_version="2026-10-28.endive",
                payload=json.dumps({"id": f"evt_{number}", "note": "\x1b[2J"}),
                now=1_000 + number,
            )
        await ledger.claim_events(worker="w", now=4_102_444_800, lease_s=600, limit=3)
        await ledger.finish_events(["evt_1"], "w", now=1_010, outcome="synchronised")
        await ledger.bury_event("evt_2", "w", now=1_010, error="Stripe refused")
        await ledger.aclose()

    asyncio.run(fill())
    return migrated


def test_events_are_listed_newest_first_with_what_became_of_them(inbox: Run) -> None:
    listed = json.loads(inbox("events", "list", "--json").stdout)
    assert [(row["event_id"], row["status"]) for row in listed["events"]] == [
        ("evt_3", "claimed"),
        ("evt_2", "dead"),
        ("evt_1", "done"),
    ]
    assert listed["by_status"] == {"pending": 0, "claimed": 1, "dead": 1}
    assert "payload" not in listed["events"][0]
    assert "Stripe refused" in inbox("events", "list").stdout


def test_one_status_can_be_asked_for(inbox: Run) -> None:
    listed = json.loads(inbox("events", "list", "--status", "dead", "--json").stdout)
    assert [row["event_id"] for row in listed["events"]] == ["evt_2"]
    assert inbox("events", "list", "--status", "lost").exit_code == 2


def test_the_next_page_continues_behind_the_last_row(inbox: Run) -> None:
    first = json.loads(inbox("events", "list", "--limit", "2", "--json").stdout)
    second = json.loads(inbox("events", "list", "--before", str(first["next_before"]), "--json").stdout)
    assert [row["event_id"] for row in second["events"]] == ["evt_1"]


def test_a_shown_event_has_its_payload_without_steering_the_terminal(inbox: Run) -> None:
    result = inbox("events", "show", "evt_2")
    assert "Stripe refused" in result.stdout
    assert '"id": "evt_2"' in result.stdout
    assert "\x1b" not in result.stdout
    assert json.loads(inbox("events", "show", "evt_2", "--json").stdout)["payload"]["id"] == "evt_2"


def test_a_replayed_event_is_due_again(inbox: Run) -> None:
    assert inbox("events", "replay", "evt_2").exit_code == 0
    assert json.loads(inbox("events", "show", "evt_2", "--json").stdout)["status"] == "pending"


def test_all_dead_events_are_replayed_at_once_and_no_others(inbox: Run) -> None:
    assert json.loads(inbox("events", "replay", "--all", "--json").stdout) == {"replayed": 1}
    listed = json.loads(inbox("events", "list", "--json").stdout)
    assert [row["status"] for row in listed["events"]] == ["claimed", "pending", "done"]
    assert inbox("events", "replay").exit_code == 2
    assert inbox("events", "replay", "evt_2", "--all").exit_code == 2


def test_an_event_that_a_worker_has_is_not_replayed(inbox: Run) -> None:
    result = inbox("events", "replay", "evt_3")
    assert result.exit_code == 1
    assert "A worker has evt_3" in result.output


@pytest.mark.parametrize("before", ["0", str(2**63), "9" * 30])
def test_a_page_begins_at_a_position_that_there_can_be(inbox: Run, before: str) -> None:
    result = inbox("events", "list", "--before", before)
    assert result.exit_code == 2
    assert "--before" in result.output


@pytest.mark.parametrize("command", [["show"], ["replay"], ["acknowledge", "--because", "seen"]])
def test_an_unknown_event_is_an_error_that_says_what_else_helps(inbox: Run, command: list[str]) -> None:
    result = inbox("events", *command, "evt_404")
    assert result.exit_code == 1
    assert "tiergate sync" in result.output


def test_an_acknowledged_event_is_dead_no_more_and_the_audit_log_says_who_and_why(inbox: Run) -> None:
    result = inbox("events", "acknowledge", "evt_2", "--because", "the meter is back")
    assert result.exit_code == 0
    listed = json.loads(inbox("events", "list", "--json").stdout)
    assert listed["by_status"]["dead"] == 0
    shown = json.loads(inbox("events", "show", "evt_2", "--json").stdout)
    assert (shown["status"], shown["outcome"], shown["error"]) == ("done", "acknowledged", "Stripe refused")
    [row] = json.loads(inbox("audit", "list", "--action", "event-acknowledged", "--json").stdout)["entries"]
    assert (row["actor"], row["because"], row["event_id"]) == ("operator", "the meter is back", "evt_2")


@pytest.mark.parametrize("event_id", ["evt_1", "evt_3"])
def test_only_a_dead_event_is_acknowledged(inbox: Run, event_id: str) -> None:
    result = inbox("events", "acknowledge", event_id, "--because", "seen")
    assert result.exit_code == 1
    assert "is not dead" in result.output


def test_a_reason_is_asked_for(inbox: Run) -> None:
    assert inbox("events", "acknowledge", "evt_2").exit_code == 2
