"""Which of our customers an object at Stripe says that it is of. Pure; what it says is not believed here.

The labels are ours (`labels`), but a seller can write them too, and what a buyer can choose is told apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.billing.webhook import METADATA_CUSTOMER, METADATA_LEDGER, reference_in

_LABELLED = (("metadata",), ("parent", "subscription_details", "metadata"))
"""Where an object may be labelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """Which of our customers an object says it is of."""

    by_metadata: str | None
    """Set with the secret key only, by us or by the seller."""
    by_reference: str | None
    """`client_reference_id` of a checkout. A payment link lets its buyer choose it: not believed alone."""
    session_id: str | None
    ledger_id: str | None = None
    """The ledger that `by_metadata` is said to be in; None: that is not said."""


NOTHING_CLAIMED: Final = Claimed(by_metadata=None, by_reference=None, session_id=None)


def claimed_customer(payload: str) -> Claimed:
    """Whom an event claims to be about, for one whose Stripe customer we do not know. Never raises.

    A thin event shows nothing of its object: what that says is read of Stripe (`FactReader.find_owner`).
    """
    try:
        subject = json.loads(payload)["data"]["object"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return NOTHING_CLAIMED
    return claimed_by(subject) if isinstance(subject, dict) else NOTHING_CLAIMED


def claimed_by(subject: Mapping[str, Any]) -> Claimed:
    """Whom an object says that it is of, as it is in an event or as it was read. Never raises."""
    is_checkout = subject.get("object") == "checkout.session"
    place = next((one for one in _LABELLED if reference_in(_inside(subject, *one, METADATA_CUSTOMER))), ("metadata",))
    return Claimed(
        by_metadata=reference_in(_inside(subject, *place, METADATA_CUSTOMER)),
        by_reference=reference_in(subject.get("client_reference_id")) if is_checkout else None,
        session_id=reference_in(subject.get("id")) if is_checkout else None,
        ledger_id=reference_in(_inside(subject, *place, METADATA_LEDGER)),
    )


def _inside(value: Any, *path: str) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
