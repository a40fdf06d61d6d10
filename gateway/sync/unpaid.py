"""Who has not paid for a subscription once, and so changes nothing of it yet."""

from __future__ import annotations

from gateway.core.errors import PaymentRequired
from gateway.core.projection import Candidate


def refuse_unpaid(current: Candidate | None) -> None:
    """A change is invoiced by itself, and would be taken for the payment that has not come.

    Raises:
        PaymentRequired: The first payment is open.
    """
    if current is not None and current.facts.first_payment_open:
        raise PaymentRequired(
            "The first payment for this subscription has not arrived yet. Wait for it, or pay in the billing portal; "
            "then change the plan."
        )
