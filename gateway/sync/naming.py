"""Records of an earlier release learn what their plans are sold as and grant, before policy calls any otherwise.

Done once at each start, with the policy that the start found: an edit comes later. Whose plan that policy does not
have is read at Stripe at once, by an event of its own as any other work: the start came with the edit, and nothing
that is recorded says what the plan was.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog

from gateway.billing import PLANS_CHANGED
from gateway.core.access import ENDED
from gateway.core.plan_map import kept_plan, named, plan_of_record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.core.account import Subscription
    from gateway.core.policy import Policy
    from gateway.sync.customers import Sync

log = structlog.get_logger(__name__)


async def name_plans(sync: Sync, publish: Callable[[str], Awaitable[object]]) -> tuple[int, int]:
    """Name the plans of all records that lack it. To do it again is safe, and asks nothing where nothing is lacking.

    Args:
        sync: Knows ledger, policy and Stripe.
        publish: Carries one customer from ledger to cache, or leaves it to who does so later.

    Returns:
        How many were named, and how many are to be read.

    Raises:
        LedgerUnavailable: Some are left.
    """
    policy, last, count, asked = sync.policy, "", 0, 0
    while page := await sync.ledger.list_unnamed(last):
        for customer_id in page:
            now = int(sync.clock.now())
            recorded = await sync.ledger.note_names(customer_id, partial(named, policy=policy), now=now)
            if recorded is None or recorded.after is None:
                continue
            if recorded.after != recorded.before:
                await publish(customer_id)
                count += 1
            if any(_is_lost(one, policy) for one in recorded.after.all()):
                asked += await _ask_for_read(sync, customer_id, now)
        last = page[-1]
    if count or asked:
        log.info("plans of earlier records named", named=count, to_read=asked)
    return count, asked


def _is_lost(record: Subscription, policy: Policy) -> bool:
    """Whether nothing says what it granted, and Stripe was not asked since its plan went."""
    is_over, was_read = record.status in ENDED, record.unreadable_since is not None
    is_known = plan_of_record(record, policy) is not None or kept_plan(record, policy) is not None
    return record.plan_id is not None and not (is_over or was_read or is_known)


async def _ask_for_read(sync: Sync, customer_id: str, now: int) -> bool:
    row = await sync.ledger.find_customer(customer_id)
    if row is None or row.stripe_customer_id is None:
        return False
    event_id = f"unnamed.{row.stripe_customer_id}"
    is_new = await sync.ledger.store_event(
        event_id=event_id,
        type=PLANS_CHANGED,
        stripe_customer_id=row.stripe_customer_id,
        livemode=sync.billing.is_live,
        api_version=None,
        payload="{}",
        now=now,
        due_at=now,
    )
    return is_new or await sync.ledger.replay_event(event_id, now)
