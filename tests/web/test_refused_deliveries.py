"""What the log says of deliveries whose signature does not hold: each of them, and no more than once a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from stripe import WebhookSignature
from structlog.testing import capture_logs

from gateway.web.refused_deliveries import RefusedDeliveries

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.conftest import StartGateway

_WITHIN_S = 200.0
"""The minute, and what a busy machine adds."""


class SteadyClock:
    """Stands still."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


def told(said: list[Any]) -> list[tuple[str, int]]:
    return [(line["trouble"], line["deliveries"]) for line in said]


def test_the_last_deliveries_of_a_burst_are_said_when_a_minute_is_over_although_no_other_comes() -> None:
    clock = SteadyClock()
    refused = RefusedDeliveries(clock)
    with capture_logs() as said:
        for _ in range(3):
            refused.note("other-secret")
        refused.note("other-time")
        clock.at += 59.9
        refused.say_if_due()
        assert told(said) == [("other-secret", 1)]
        clock.at += 0.1
        refused.say_if_due()
        assert told(said)[1:] == [("other-secret", 2), ("other-time", 1)]
        clock.at += 3_600
        refused.say_if_due()
    assert len(said) == 3, "each is said once"


def test_a_new_burst_is_said_at_once() -> None:
    clock = SteadyClock()
    refused = RefusedDeliveries(clock)
    with capture_logs() as said:
        refused.note("other-secret")
        clock.at += 60
        refused.say_if_due()
        refused.note("other-time")
    assert told(said) == [("other-secret", 1), ("other-time", 1)]


@pytest.mark.slow
def test_a_gateway_says_the_last_deliveries_of_a_burst_by_itself(
    start_gateway: StartGateway, until: Callable[..., None]
) -> None:
    gateway = start_gateway()
    for _ in range(2):
        signature = WebhookSignature.generate_signature_header("{}", "whsec_of_nobody")
        answer = gateway.browser().post("/api/v1/webhook", content="{}", headers={"stripe-signature": signature})
        assert answer.status_code == 400
    until(lambda: gateway.log.read_text().count("their signature does not hold") == 2, _WITHIN_S)
