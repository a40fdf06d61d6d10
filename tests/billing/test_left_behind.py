"""What a change gave up is removed once it is made, and never while it waits: that would take its place."""

from __future__ import annotations

import pytest

from gateway.core.billing_facts import SubscriptionFacts
from gateway.sync.given_up import is_left_behind


@pytest.mark.parametrize(
    ("status", "given_up", "waits", "left"),
    [
        ("active", ("si_1",), "", True),
        ("active", ("si_1",), "a change", False),
        ("active", (), "", False),
        ("canceled", ("si_1",), "", False),
    ],
)
def test_what_is_given_up_is_left_behind_once_nothing_waits(
    status: str, given_up: tuple[str, ...], waits: str, left: object
) -> None:
    facts = SubscriptionFacts(
        subscription_id="sub_1",
        status=status,
        anchor_at=0,
        started_at=0,
        items=(),
        given_up=given_up,
        has_pending_update=bool(waits),
    )
    assert is_left_behind(facts) == left
