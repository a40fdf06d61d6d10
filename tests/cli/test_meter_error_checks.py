"""The doctor on event destinations: units that Stripe takes and does not count are told to nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.billing import DestinationFacts
from gateway.cli.meter_error_checks import check_meter_errors
from gateway.core.policy import Policy
from gateway.policyfiles import load_policy
from tests.cli.test_doctor import PUBLIC_URL, SELLS_OVERAGE, WEBHOOK, Run, about, add_endpoint, examine

REPORTS = "v1.billing.meter.error_report_triggered"


@pytest.fixture
def overage(tmp_path: Any) -> Policy:
    (tmp_path / "sells").mkdir()
    (tmp_path / "sells" / "tiergate.yaml").write_text(SELLS_OVERAGE)
    return load_policy(tmp_path / "sells")


def destination(**changes: Any) -> DestinationFacts:
    facts: dict[str, Any] = {
        "destination_id": "ed_1",
        "url": WEBHOOK,
        "is_enabled": True,
        "is_thin": True,
        "api_version": None,
        "types": (REPORTS,),
    }
    return DestinationFacts(**facts | changes)


@pytest.mark.parametrize(
    ("changes", "grade"),
    [
        ({}, "ok"),
        ({"types": ("*",)}, "ok"),
        ({"is_thin": False, "types": ("billing.meter.error_report_triggered",)}, "ok"),
        ({"types": ("v1.invoice.paid",)}, "warn"),
        ({"is_enabled": False}, "warn"),
        ({"url": "https://example.com"}, "warn"),
        ({"is_live": True}, "warn"),
        ({"destination_id": "we_1", "types": ("*",)}, "warn"),
    ],
    ids=[
        "reports",
        "all",
        "snapshot",
        "other events",
        "disabled",
        "elsewhere",
        "another mode",
        "an endpoint gets none",
    ],
)
def test_meter_errors_have_to_come_here(overage: Policy, changes: dict[str, Any], grade: str) -> None:
    [finding] = check_meter_errors(WEBHOOK, (destination(**changes),), overage, is_live=False)
    assert finding.grade.value == grade


def test_a_key_that_may_not_read_destinations_is_told(overage: Policy) -> None:
    [finding] = check_meter_errors(WEBHOOK, None, overage, is_live=False)
    assert (finding.grade.value, "cannot be read" in finding.what) == ("warn", True)


def test_without_overage_nobody_needs_one(policies: Any) -> None:
    assert check_meter_errors(WEBHOOK, (), load_policy(policies), is_live=False) == []


@pytest.mark.slow
def test_who_sells_overage_without_a_destination_is_warned_and_told_how_to_make_one(
    migrated: Run, environment: dict[str, str], sandbox: Any, policies: Any
) -> None:
    environment["TIERGATE_PUBLIC_URL"] = PUBLIC_URL
    (policies / "tiergate.yaml").write_text(SELLS_OVERAGE)
    add_endpoint(sandbox, WEBHOOK)
    warned = [one for one in examine(migrated)[1] if "no event destination" in one["what"]]
    assert [(one["grade"], REPORTS in one["fix"], WEBHOOK in one["fix"]) for one in warned] == [("warn", True, True)]
    sandbox.destination(WEBHOOK, REPORTS)
    told = about(examine(migrated)[1], "overage", "ok")
    assert any("tells of units that Stripe takes" in what for what in told), told
