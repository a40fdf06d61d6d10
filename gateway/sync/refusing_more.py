"""Who is sold nothing more for now, though a subscription runs. Less can always be had.

Policy may keep the tier of a customer whose collection the seller has paused, but it is no invitation: what is bought
in the pause is on invoices that are void, uncollectible or drafts, for as long as it lasts
(https://docs.stripe.com/billing/subscriptions/pause-payment). And whoever is suspended, blocked or for a dispute that
policy does not only flag (`core.access.is_suspended`), could not use what it pays for. Nor could one whose period is
not paid for any more, where policy has a line for that: a part of a period that is bought then is no new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.access import is_suspended
from gateway.core.candidate import Candidate
from gateway.core.errors import AccountSuspended, PaymentRequired
from gateway.core.plan_map import ENDED_STATUSES
from gateway.sync.change_values import CollectionPaused

if TYPE_CHECKING:
    from gateway.sync.customers import Sync


async def refuse_suspended(sync: Sync, customer_id: str) -> None:
    """Called before anything is sold.

    Raises:
        AccountSuspended: It is blocked, or a payment of it is disputed, and policy does not only warn of that.
        LedgerUnavailable: It is not known who it is.
    """
    account = await sync.ledger.load_account(customer_id)
    if account is None:
        return
    if is_suspended(account, sync.policy, sync.clock.now()):
        raise AccountSuspended("This account is suspended. Contact the provider of this API.")


async def refuse_more(sync: Sync, customer_id: str, current: Candidate) -> None:
    """Called for whatever takes more than there is.

    Raises:
        AccountSuspended: It is blocked, or a payment of it is disputed, and policy does not only warn of that.
        CollectionPaused: Nobody collects what it would cost.
        PaymentRequired: What this period cost was given back, or lost to a charge-back.
        LedgerUnavailable: It is not known who it is.
    """
    await refuse_suspended(sync, customer_id)
    if current.facts.paused_collection is not None:
        raise CollectionPaused(
            "Payments for this subscription are paused, and nothing more is sold meanwhile. Ask the provider of this "
            "API."
        )
    if current.facts.taken_back and current.facts.status not in ENDED_STATUSES:
        raise PaymentRequired(
            "The payment for this period was taken back. What was bought is had with the next invoice that is paid; or "
            "cancel it in the billing portal and subscribe anew."
        )
