"""The doctor on what leads to the webhook: endpoints and event destinations together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.billing import API_VERSION, METER_ERRORS, SUBSCRIBED_TYPES, THIN_TYPES, DestinationFacts, EndpointFacts
from gateway.cli.webhook_checks import check_webhook
from gateway.settings import Settings, load_settings
from tests.cli.test_doctor import PUBLIC_URL, WEBHOOK, Run, examine


@pytest.fixture
def settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in (environment | {"TIERGATE_PUBLIC_URL": PUBLIC_URL}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", f"whsec_{'1' * 32},whsec_{'2' * 32}")
    return load_settings()


def endpoint(**changes: Any) -> EndpointFacts:
    facts: dict[str, Any] = {
        "endpoint_id": "we_1",
        "url": WEBHOOK,
        "is_enabled": True,
        "api_version": API_VERSION,
        "missing_types": (),
    }
    return EndpointFacts(**facts | changes)


def destination(**changes: Any) -> DestinationFacts:
    facts: dict[str, Any] = {
        "destination_id": "ed_1",
        "url": WEBHOOK,
        "is_enabled": True,
        "is_thin": True,
        "api_version": None,
        "types": THIN_TYPES,
    }
    return DestinationFacts(**facts | changes)


LACKS_ONE = tuple(name for name in THIN_TYPES if name != "v1.invoice.paid")
ERRORS_ONLY = destination(types=METER_ERRORS)
OLD_SNAPSHOTS = destination(is_thin=False, api_version="2020-08-27", types=SUBSCRIBED_TYPES)


@pytest.mark.parametrize(
    ("endpoints", "destinations", "grades", "words"),
    [
        ((endpoint(),), (), {"ok"}, "every event that matters, as snapshot events"),
        ((), (destination(),), {"ok"}, "every event that matters, as thin events"),
        ((), (destination(types=("*",)),), {"ok"}, "as thin events"),
        ((endpoint(),), (ERRORS_ONLY,), {"ok"}, "ed_1 sends 2 types of thin events"),
        ((), (OLD_SNAPSHOTS,), {"ok", "warn"}, "ed_1 sends API version 2020-08-27"),
        ((), (destination(types=LACKS_ONE),), {"ok", "fail"}, "does not get 1 of the events that matter"),
        ((), (ERRORS_ONLY,), {"ok", "fail"}, f"does not get {len(SUBSCRIBED_TYPES)} of the events"),
        ((endpoint(missing_types=("invoice.paid",)),), (destination(types=("v1.invoice.paid",)),), {"ok"}, "and thin"),
        ((endpoint(),), (destination(),), {"ok", "warn"}, "(we_1, ed_1): events come 2 times"),
        ((endpoint(),), (destination(is_enabled=False),), {"ok", "warn"}, "event destination ed_1 for"),
        ((), (destination(is_enabled=False),), {"fail"}, "the event destination for"),
        ((), (destination(url="https://example.com"),), {"warn"}, "no webhook endpoint"),
        ((), (destination(is_live=True),), {"warn"}, "no webhook endpoint"),
        ((), None, {"warn"}, "event destinations may not be read with this key"),
        (None, (destination(),), {"ok"}, "as thin events"),
        (None, (ERRORS_ONLY,), set(), ""),
        (
            (endpoint(), endpoint(endpoint_id="we_2"), endpoint(endpoint_id="we_3")),
            (),
            {"ok", "warn"},
            "each signed with its own secret, and STRIPE_WEBHOOK_SECRET has 2",
        ),
    ],
    ids=[
        "an endpoint",
        "a destination",
        "a destination of everything",
        "meter errors beside an endpoint",
        "snapshots of an old version",
        "an event is missing",
        "meter errors alone",
        "what one lacks the other has",
        "both",
        "a disabled one beside",
        "disabled",
        "elsewhere",
        "another mode",
        "destinations not read",
        "endpoints not read",
        "endpoints not read and not all is told",
        "more than secrets",
    ],
)
def test_everything_that_matters_has_to_come_here_once(
    settings: Settings, endpoints: Any, destinations: Any, grades: set[str], words: str
) -> None:
    findings = list(check_webhook(settings, endpoints, destinations))
    assert {one.grade.value for one in findings} == grades
    assert words in "; ".join(one.what for one in findings)


@pytest.mark.slow
def test_a_seller_with_a_destination_that_the_command_made_has_nothing_but_good_findings(
    migrated: Run, sandbox: Any, environment: dict[str, str], cache: str
) -> None:
    assert cache
    environment["TIERGATE_PUBLIC_URL"] = PUBLIC_URL
    Path(environment["TIERGATE_DATA_DIR"]).chmod(0o700)
    made = migrated("webhook", "ensure", "--thin", "--print-secret")
    environment["STRIPE_WEBHOOK_SECRET"] = made.stdout.strip().partition("=")[2]
    exit_code, findings = examine(migrated)
    assert [one for one in findings if one["grade"] != "ok"] == []
    assert (exit_code, len(sandbox.destinations())) == (0, 1)
