"""`tiergate webhook ensure --thin` and `--meter-errors`: an event destination, made and mended as an endpoint is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gateway.billing import METER_ERRORS, SUBSCRIBED_TYPES, THIN_TYPES

pytestmark = pytest.mark.slow

Run = Callable[..., Result]
PUBLIC_URL = "http://localhost:9"
URL = f"{PUBLIC_URL}/api/v1/webhook"


@pytest.fixture(autouse=True)
def public(environment: dict[str, str]) -> None:
    environment["TIERGATE_PUBLIC_URL"] = PUBLIC_URL


def endpoint(sandbox: Any) -> str:
    form = {f"enabled_events[{number}]": name for number, name in enumerate(SUBSCRIBED_TYPES)}
    return str(sandbox.post("/v1/webhook_endpoints", url=URL, **form)["id"])


def test_a_destination_is_made_once_and_its_secret_is_in_the_file_beside_the_other(
    tiergate: Run, sandbox: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    del environment["STRIPE_WEBHOOK_SECRET"]
    refused = tiergate("webhook", "ensure", "--thin")
    assert (refused.exit_code, "no event destination" in refused.output, sandbox.destinations()) == (1, True, {})
    file = tmp_path / "settings.env"
    file.write_text("STRIPE_WEBHOOK_SECRET=whsec_old1\n")
    made = tiergate("webhook", "ensure", "--thin", "--write-env", str(file))
    assert made.exit_code == 0, made.output
    found = re.fullmatch(r"STRIPE_WEBHOOK_SECRET=(whsec_\w+),whsec_old1\n", file.read_text())
    assert found is not None
    assert found[1] not in made.output
    [one] = sandbox.destinations().values()
    assert (one["event_payload"], one["events_from"], one["webhook_endpoint"]["url"]) == ("thin", ["@self"], URL)
    assert sorted(one["enabled_events"]) == sorted(THIN_TYPES)
    again = tiergate("webhook", "ensure", "--thin", "--print-secret")
    assert "gets exactly what the gateway acts on, as thin events" in again.stdout
    assert "whsec_" not in again.output
    assert len(sandbox.destinations()) == 1


def test_one_that_is_disabled_and_has_other_events_is_mended_and_what_leads_elsewhere_is_not(
    tiergate: Run, sandbox: Any
) -> None:
    ours = sandbox.destination(URL, "v1.invoice.paid", "v1.invoice.created")
    sandbox.disable(ours)
    other = sandbox.destination("http://localhost:9/else", "v1.invoice.paid")
    before = sandbox.destinations()[other]
    mended = tiergate("webhook", "ensure", "--thin")
    assert mended.exit_code == 0, mended.output
    assert re.search(r"enabled it; added v1\..*; took out v1.invoice.created\.", mended.stdout)
    after = sandbox.destinations()
    assert (after[ours]["status"], sorted(after[ours]["enabled_events"])) == ("enabled", sorted(THIN_TYPES))
    assert after[other] == before


def test_what_else_leads_here_is_told(tiergate: Run, sandbox: Any) -> None:
    classic = endpoint(sandbox)
    first, second = sandbox.destination(URL, *THIN_TYPES), sandbox.destination(URL, *THIN_TYPES)
    snapshots = sandbox.destination(URL, "invoice.paid", payload="snapshot")
    told = tiergate("webhook", "ensure", "--thin")
    assert told.exit_code == 0, told.output
    others = {classic, snapshots, first, second}
    said = set(re.findall(r"(\w+) leads here too: events come twice\. That is harmless", told.stderr))
    assert (said < others, len(said), {classic, snapshots} < said) == (True, 3, True)
    of_endpoint = tiergate("webhook", "ensure")
    for one in (first, second, snapshots):
        assert f"{one} leads here too: events come twice" in of_endpoint.stderr


def test_what_sends_nothing_that_matters_here_is_left_and_nothing_comes_twice_by_it(
    tiergate: Run, sandbox: Any
) -> None:
    endpoint(sandbox)
    theirs = [
        sandbox.destination(URL, "v1.invoice.created"),
        sandbox.destination(URL, "invoice.created", payload="snapshot"),
    ]
    before = [sandbox.destinations()[one] for one in theirs]
    of_endpoint = tiergate("webhook", "ensure")
    assert (of_endpoint.exit_code, "twice" in of_endpoint.output) == (0, False)
    made = tiergate("webhook", "ensure", "--thin", "--print-secret")
    assert (made.exit_code, len(sandbox.destinations())) == (0, 3)
    said = re.findall(r"(\w+) leads here too: events come twice", made.stderr)
    assert (len(said), set(said).isdisjoint(theirs)) == (1, True), "the endpoint is said"
    assert [sandbox.destinations()[one] for one in theirs] == before


def test_meter_errors_are_put_where_one_sends_thin_events_and_nothing_comes_twice_by_the_others(
    tiergate: Run, sandbox: Any
) -> None:
    for name in ("v1.invoice.paid", "v1.invoice.created"):
        sandbox.destination(URL, name)
    mended = tiergate("webhook", "ensure", "--meter-errors")
    assert "is mended: added" in mended.stdout
    assert "twice" not in mended.output


def test_meter_errors_are_sent_beside_an_endpoint_and_nothing_comes_twice(tiergate: Run, sandbox: Any) -> None:
    endpoint(sandbox)
    made = tiergate("webhook", "ensure", "--meter-errors", "--print-secret")
    assert re.fullmatch(r"STRIPE_WEBHOOK_SECRET=whsec_\w+\n", made.stdout)
    [one] = sandbox.destinations().values()
    assert one["enabled_events"] == list(METER_ERRORS)
    for again in (tiergate("webhook", "ensure", "--meter-errors"), tiergate("webhook", "ensure")):
        assert (again.exit_code, "twice" in again.output) == (0, False)


def test_meter_errors_are_added_to_a_destination_that_lacks_them_and_nothing_is_taken_from_it(
    tiergate: Run, sandbox: Any
) -> None:
    ours = sandbox.destination(URL, "v1.invoice.paid", METER_ERRORS[0])
    mended = tiergate("webhook", "ensure", "--meter-errors")
    assert f"added {METER_ERRORS[1]}" in mended.stdout
    assert set(sandbox.destinations()[ours]["enabled_events"]) == {"v1.invoice.paid", *METER_ERRORS}
    assert "gets what no endpoint gets" in tiergate("webhook", "ensure", "--meter-errors").stdout


def test_a_file_that_cannot_be_written_makes_no_destination(tiergate: Run, sandbox: Any, tmp_path: Path) -> None:
    refused = tiergate("webhook", "ensure", "--thin", "--write-env", str(tmp_path / "nowhere" / "settings.env"))
    assert (refused.exit_code, "Nothing was made" in refused.output) == (1, True)
    assert sandbox.destinations() == {}


def test_what_stripe_refuses_is_said_with_what_may_help(
    tiergate: Run, sandbox: Any, environment: dict[str, str]
) -> None:
    for number in range(16):
        sandbox.destination(f"http://localhost:9/{number}", "v1.invoice.paid")
    full = tiergate("webhook", "ensure", "--thin", "--print-secret")
    assert (full.exit_code, "16 endpoints and event destinations at most" in full.output) == (1, True)
    environment["STRIPE_SECRET_KEY"] = "sk_test_another_key_of_nobody"
    refused = tiergate("webhook", "ensure", "--thin", "--print-secret")
    assert (refused.exit_code, "write for Event Destinations" in refused.output) == (1, True)
    both = tiergate("webhook", "ensure", "--thin", "--meter-errors")
    assert (both.exit_code, "Either --thin or --meter-errors" in both.output) == (2, True)
