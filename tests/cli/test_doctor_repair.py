"""`tiergate doctor --repair` mends what does not come here, by the way it comes, and nothing that does come."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import Result

from gateway.billing import METER_ERRORS, SUBSCRIBED_TYPES, THIN_TYPES

pytestmark = pytest.mark.slow

Run = Callable[..., Result]
PUBLIC_URL = "http://localhost:9"
URL = f"{PUBLIC_URL}/api/v1/webhook"
LACKS_ONE = tuple(name for name in THIN_TYPES if name != "v1.invoice.paid")


@pytest.fixture(autouse=True)
def public(environment: dict[str, str]) -> None:
    environment["TIERGATE_PUBLIC_URL"] = PUBLIC_URL


def endpoint(sandbox: Any, *types: str, disabled: bool = False) -> str:
    form = {f"enabled_events[{number}]": name for number, name in enumerate(types or SUBSCRIBED_TYPES)}
    made = str(sandbox.post("/v1/webhook_endpoints", url=URL, **form)["id"])
    if disabled:
        sandbox.post(f"/v1/webhook_endpoints/{made}", disabled="true")
    return made


def endpoints(sandbox: Any) -> dict[str, dict[str, Any]]:
    answer = httpx.get(
        f"{sandbox.url}/v1/webhook_endpoints", headers={"authorization": f"Bearer {sandbox.key}"}, timeout=30
    )
    return {one["id"]: one for one in answer.raise_for_status().json()["data"]}


def refuse(sandbox: Any, path: str) -> None:
    fault = {"method": "GET", "path": path, "status": 403, "times": 100}
    httpx.post(f"{sandbox.url}/_sandbox/faults", json={"api": [fault]}, timeout=30).raise_for_status()


def allow(sandbox: Any) -> None:
    httpx.delete(f"{sandbox.url}/_sandbox/faults", timeout=30).raise_for_status()


def repair(tiergate: Run) -> list[str]:
    """What the webhook failed of after it."""
    findings = json.loads(tiergate("doctor", "--repair", "--json").stdout)["findings"]
    return [one["what"] for one in findings if (one["subject"], one["grade"]) == ("webhook", "fail")]


def an_endpoint_that_was_disabled_beside_a_destination(sandbox: Any) -> None:
    endpoint(sandbox, disabled=True)
    sandbox.destination(URL, *THIN_TYPES)


def an_endpoint_that_was_disabled_beside_a_destination_of_everything(sandbox: Any) -> None:
    endpoint(sandbox, "invoice.paid", disabled=True)
    sandbox.destination(URL, "*")


def a_destination_of_snapshots(sandbox: Any) -> None:
    sandbox.destination(URL, *SUBSCRIBED_TYPES, payload="snapshot")


def an_endpoint_and_a_destination_that_tell_it_together(sandbox: Any) -> None:
    endpoint(sandbox, *(name for name in SUBSCRIBED_TYPES if name != "invoice.paid"))
    sandbox.destination(URL, "v1.invoice.paid")


@pytest.mark.parametrize(
    "set_up",
    [
        an_endpoint_that_was_disabled_beside_a_destination,
        an_endpoint_that_was_disabled_beside_a_destination_of_everything,
        a_destination_of_snapshots,
        an_endpoint_and_a_destination_that_tell_it_together,
    ],
    ids=lambda set_up: set_up.__name__.replace("_", " "),
)
def test_where_everything_comes_nothing_is_changed(tiergate: Run, sandbox: Any, set_up: Callable[[Any], None]) -> None:
    set_up(sandbox)
    before = endpoints(sandbox), sandbox.destinations()
    assert repair(tiergate) == []
    assert (endpoints(sandbox), sandbox.destinations()) == before


def test_a_key_that_may_not_read_endpoints_is_no_fault_where_a_destination_tells_everything(
    tiergate: Run, sandbox: Any
) -> None:
    sandbox.destination(URL, *THIN_TYPES)
    refuse(sandbox, "/v1/webhook_endpoints")
    before = sandbox.destinations()
    assert repair(tiergate) == []
    assert sandbox.destinations() == before


def test_a_destination_that_lacks_something_is_given_it_and_a_disabled_endpoint_beside_it_is_left(
    tiergate: Run, sandbox: Any
) -> None:
    old, ours = endpoint(sandbox, disabled=True), sandbox.destination(URL, *LACKS_ONE)
    assert repair(tiergate) == []
    assert sorted(sandbox.destinations()[ours]["enabled_events"]) == sorted(THIN_TYPES)
    assert endpoints(sandbox)[old]["status"] == "disabled"


@pytest.mark.parametrize("disabled", [False, True])
def test_a_destination_of_snapshots_is_completed_as_any_other_and_no_endpoint_is_made_beside_it(
    tiergate: Run, sandbox: Any, *, disabled: bool
) -> None:
    ours = sandbox.destination(URL, *(name for name in SUBSCRIBED_TYPES if name != "invoice.paid"), payload="snapshot")
    if disabled:
        sandbox.disable(ours)
    assert repair(tiergate) == []
    after = sandbox.destinations()[ours]
    assert (after["status"], sorted(after["enabled_events"])) == ("enabled", sorted(SUBSCRIBED_TYPES))
    assert endpoints(sandbox) == {}


def test_an_endpoint_is_enabled_again_beside_a_destination_of_meter_errors(tiergate: Run, sandbox: Any) -> None:
    ours, errors = endpoint(sandbox, disabled=True), sandbox.destination(URL, *METER_ERRORS)
    assert repair(tiergate) == []
    assert endpoints(sandbox)[ours]["status"] == "enabled"
    assert sandbox.destinations()[errors]["enabled_events"] == list(METER_ERRORS)


def test_a_destination_that_told_everything_and_was_disabled_is_enabled_again(tiergate: Run, sandbox: Any) -> None:
    ours = sandbox.destination(URL, *THIN_TYPES)
    sandbox.disable(ours)
    assert repair(tiergate) == []
    assert (sandbox.destinations()[ours]["status"], endpoints(sandbox)) == ("enabled", {})


def test_what_cannot_be_read_and_may_tell_it_is_not_guessed(tiergate: Run, sandbox: Any) -> None:
    endpoint(sandbox)
    refuse(sandbox, "/v1/webhook_endpoints")
    [what] = repair(tiergate)
    assert "write for Webhook Endpoints" in what
    allow(sandbox)
    assert (len(endpoints(sandbox)), sandbox.destinations()) == (1, {})
