"""Who owes something for a subscription, or has not paid for it once, and so changes nothing of it yet."""

from __future__ import annotations

from gateway.core.candidate import Candidate
from gateway.core.errors import PaymentRequired
from gateway.core.plan_map import ENDED_STATUSES

_OWING_STATUSES = frozenset({"past_due", "unpaid"})


def refuse_owing(current: Candidate | None) -> None:
    """Whoever owes pays first, the first payment too.

    Raises:
        PaymentRequired: Something is owed.
    """
    if current is not None and current.record.status in _OWING_STATUSES:
        refuse_unconfirmed(current)
        raise PaymentRequired(
            "A payment is due on the subscription; pay it before changing the plan.",
            payment_url=current.facts.payment_url,
        )
    refuse_unpaid(current)


def refuse_unconfirmed(current: Candidate | None) -> None:
    """A payment that is owed, and for which the bank waits. One that a change waits for is given up for another change.

    Raises:
        PaymentRequired: With where it is confirmed.
    """
    if current is None or current.facts.confirmation_url is None or current.facts.has_pending_update:
        return
    raise PaymentRequired(
        "A payment on the subscription waits to be confirmed with its bank; confirm it before changing the plan.",
        payment_url=current.facts.confirmation_url,
        is_unconfirmed=True,
    )


def refuse_unpaid(current: Candidate | None) -> None:
    """A change is invoiced by itself, and would be taken for the payment that has not come.

    Raises:
        PaymentRequired: The first payment is open, or was given up.
    """
    refuse_unconfirmed(current)
    if current is None or current.record.status in ENDED_STATUSES:
        return
    if current.facts.first_payment_missing and current.facts.payment_url is None:
        raise PaymentRequired(
            "The first payment for this subscription never came, and its invoice was given up. What was bought is had "
            "with the next invoice that is paid; or cancel it in the billing portal and subscribe anew."
        )
    if current.facts.first_payment_missing:
        raise PaymentRequired(
            "The first payment for this subscription has not arrived yet. Wait for it, or pay in the billing portal; "
            "then change the plan.",
            payment_url=current.facts.payment_url,
        )
    if current.record.status == "incomplete" and current.facts.payment_url is not None:
        raise PaymentRequired(
            "The first payment for this subscription was not made. Pay its invoice; then change the plan.",
            payment_url=current.facts.payment_url,
        )
