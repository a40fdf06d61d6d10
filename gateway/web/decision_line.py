"""The one line that a decision leaves in the log, where the settings ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from gateway.explaining import Facts, Record

log = structlog.get_logger(__name__)

_UNKNOWN: tuple[Any, ...] = (None,) * 32


def log_decision(decision_id: str, request_id: str, record: Record, facts: Facts) -> None:
    """Write the line: a constant message, digests and last four characters only.

    Args:
        decision_id: Of the decision.
        request_id: The caller's; empty: the decision id stands for it.
        record: What was decided, and how the exchange ended.
        facts: On which facts.
    """
    log.info(
        "decision",
        decision_id=decision_id,
        request_id=request_id or decision_id,
        verdict=record.verdict,
        method=record.method,
        path=record.path,
        status=record.status,
        customer_id=facts.customer_id,
        key=facts.key_last4,
        tier=facts.tier,
        policy=facts.policy_hash,
        refunded=record.refunded,
        **({"outage": record.outage} if record.outage else {}),
        **({"settled": record.settled} if record.settled else {}),
        left={limit.name: left for limit, left in zip(facts.limits, record.states[::3] or _UNKNOWN, strict=False)},
        ms=round(record.duration_ms or 0.0, 3),
    )
