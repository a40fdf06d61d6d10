"""Items that a change gave up and that bill usage go once Stripe was told of all that they are to bill.

What is reported when no item bills its meter any more is on no invoice. So, of an item that is left behind
(`gateway.sync.given_up`):
- it goes only when the ledger has what the cache counted, under a record that allows no more of it, and every unit of
  its meter was reported (or given up, which somebody sees) some minutes ago: Stripe counts what it was told a while
  after it has taken it, and an item that goes bills what was counted. Until then it stays, and bills what is reported;
- unless another item of the subscription bills the same meter: that one bills what is reported later, and two would
  bill every unit twice;
- whoever removes it has the customer's turn, and has read the subscription within it: a later change may want it back.

What waits is reported as ever. Whoever leaves an item there puts an event into the inbox that is due in some minutes,
and has the customer synced, which looks at it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gateway.billing import ITEMS_LEFT
from gateway.sync.given_up import used_left

if TYPE_CHECKING:
    from gateway.core.billing_facts import ItemFacts, SubscriptionFacts
    from gateway.sync.customers import Sync

log = structlog.get_logger(__name__)

COUNTED_WITHIN_S = 600
"""By then Stripe counts what it was told. It says only that this is not at once.
Source: https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api"""


async def let_go(sync: Sync, customer_id: str, facts: SubscriptionFacts) -> bool:
    """Remove what may go. Within the customer's turn, and after what there is now was recorded.

    Args:
        sync: Of the customer.
        customer_id: Ours.
        facts: The subscription, read within that turn.

    Returns:
        Whether anything was removed.

    Raises:
        BillingUnavailable, BillingRefused, LedgerUnavailable: To do it again is safe.
    """
    left = [item for item in facts.items if item.item_id in used_left(facts)]
    if not left:
        return False
    go = await _may_go(sync, customer_id, facts, left)
    stay = [item.item_id for item in left if item.item_id not in go]
    if stay:
        log.info("metered items stay until all is reported", customer_id=customer_id, item_ids=stay)
        await _look_again(sync, customer_id)
    if go:
        proration = sync.policy.switching.proration
        await sync.billing.changes.remove_used(facts.subscription_id, go, proration, left=stay)
    return bool(go)


async def _may_go(sync: Sync, customer_id: str, facts: SubscriptionFacts, left: list[ItemFacts]) -> list[str]:
    billed = {item.meter_id for item in facts.items if item not in left}
    doubtful = [item for item in left if item.meter_id not in billed]
    sure = [item.item_id for item in left if item not in doubtful]
    if not doubtful or not await _is_settled(sync, customer_id):
        return sure
    waiting = await sync.ledger.list_waiting_meters(customer_id, int(sync.clock.now()) - COUNTED_WITHIN_S)
    return sure + [item.item_id for item in doubtful if not await _waits(sync, item, waiting)]


async def _is_settled(sync: Sync, customer_id: str) -> bool:
    """Whether the ledger has all that was counted, and the cache allows what is recorded and nothing before it."""
    row = await sync.ledger.find_customer(customer_id)
    return row is not None and row.published_version >= row.version and await sync.settle(customer_id)


async def _waits(sync: Sync, item: ItemFacts, waiting: frozenset[str | None]) -> bool:
    """Whether units are counted that it bills; those of which nobody knows yet by which meter count as such."""
    if item.meter_id is None or not waiting:
        return False
    return None in waiting or await sync.billing.changes.sales.meter_name(item.meter_id) in waiting


async def _look_again(sync: Sync, customer_id: str) -> None:
    """In ten to twenty minutes. However many ask for it, it is one event."""
    row = await sync.ledger.find_customer(customer_id)
    due_at = (int(sync.clock.now()) // COUNTED_WITHIN_S + 2) * COUNTED_WITHIN_S
    await sync.ledger.store_event(
        event_id=f"{ITEMS_LEFT}.{customer_id}.{due_at}",
        type=ITEMS_LEFT,
        stripe_customer_id=None if row is None else row.stripe_customer_id,
        livemode=sync.billing.is_live,
        api_version=None,
        payload="{}",
        now=int(sync.clock.now()),
        due_at=due_at,
    )
