"""Changes that Stripe makes by itself when the period ends: subscription schedules, of two phases.

A schedule takes the running subscription over as it is (`from_subscription`), is told a second phase, and lets the
subscription go behind it. A subscription has one at most, so two workers cannot make two.

    taken over, and nothing planned yet     the subscription goes on as if there were none
    planned                                 marked with our customer and plan, so that we know it again

Source: https://docs.stripe.com/billing/subscriptions/subscription-schedules
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import stripe

from gateway.billing.failures import is_missing, stripe_call
from gateway.billing.phases import echo_phase, like_phase
from gateway.billing.reading import id_of, read_phase_item
from gateway.billing.values import LaterChange
from gateway.billing.webhook import METADATA_CUSTOMER, METADATA_PLAN
from gateway.core.billing_facts import ScheduleFacts
from gateway.core.errors import BillingRefused

if TYPE_CHECKING:
    from stripe.params import (
        SubscriptionScheduleUpdateParams,
        SubscriptionScheduleUpdateParamsPhase,
        SubscriptionScheduleUpdateParamsPhaseItem,
    )

_RUNNING = frozenset({"active", "not_started"})


class Scheduler:
    """Reads, plans and releases schedules. Every call fails as `failures.stripe_call` says."""

    def __init__(self, client: stripe.StripeClient, *, deadline_s: float) -> None:
        self._client = client
        self._deadline_s = deadline_s

    async def plan(self, later: LaterChange) -> None:
        """Have Stripe make a change at the end of the period, in the place of whatever was planned.

        Sent twice, the second plans the same again. If it fails in the middle nothing is planned.
        """
        schedule_id = later.schedule_id or await self._take_over(later.change.subscription_id)
        async with stripe_call("plan a change", self._deadline_s):
            schedule = await self._client.v1.subscription_schedules.retrieve_async(schedule_id)
            params: SubscriptionScheduleUpdateParams = {
                "phases": _two_phases(schedule, later),
                "end_behavior": "release",
                "proration_behavior": "none",
                "metadata": {METADATA_CUSTOMER: later.customer_id, METADATA_PLAN: later.plan_id},
            }
            await self._client.v1.subscription_schedules.update_async(schedule_id, params)

    async def release(self, schedule_id: str) -> None:
        """Forget what was planned; the subscription goes on as it is. One that is over already stays as it is."""
        async with stripe_call("release a schedule", self._deadline_s):
            try:
                await self._client.v1.subscription_schedules.release_async(schedule_id)
            except stripe.InvalidRequestError as error:
                if is_missing(error):
                    return
                schedule = await self._client.v1.subscription_schedules.retrieve_async(schedule_id)
                if schedule.status in _RUNNING:
                    raise

    async def _take_over(self, subscription_id: str) -> str:
        async with stripe_call("schedule a subscription", self._deadline_s):
            try:
                made = await self._client.v1.subscription_schedules.create_async({"from_subscription": subscription_id})
            except stripe.InvalidRequestError:
                subscription = await self._client.v1.subscriptions.retrieve_async(subscription_id)
                there = id_of(subscription.schedule)
                if there is None:
                    raise
                return there
            return made.id


async def fetch_schedule(client: stripe.StripeClient, schedule_id: str) -> ScheduleFacts | None:
    """A schedule with the prices of its next phase; None if it is over. Call it within `stripe_call`."""
    try:
        schedule = await client.v1.subscription_schedules.retrieve_async(
            schedule_id, {"expand": ["phases.items.price"]}
        )
    except stripe.InvalidRequestError as error:
        if not is_missing(error):
            raise
        return None
    return read_schedule(schedule)


def read_schedule(schedule: stripe.SubscriptionSchedule) -> ScheduleFacts | None:
    """Facts of a schedule whose prices were expanded; None if it is over."""
    if schedule.status not in _RUNNING:
        return None
    current = schedule.current_phase
    after = 0 if current is None else current.end_date
    coming = sorted((phase for phase in schedule.phases if phase.start_date >= after), key=lambda one: one.start_date)
    metadata = {} if schedule.metadata is None else schedule.metadata.to_dict()
    first = coming[0] if coming else None
    return ScheduleFacts(
        schedule_id=schedule.id,
        is_ours=METADATA_PLAN in metadata,
        next_at=None if first is None else first.start_date,
        is_term=schedule.end_behavior != "release",
        next_items=()
        if first is None
        else tuple(read_phase_item(item, place, first.start_date) for place, item in enumerate(first.items)),
    )


def _two_phases(
    schedule: stripe.SubscriptionSchedule, later: LaterChange
) -> list[SubscriptionScheduleUpdateParamsPhase]:
    """The current phase as it is, and behind it the same with the one price changed.

    A phase loses what it leaves out, discounts for one, so both say all there is. The current one ends with the
    period, also where somebody else made it longer.
    """
    current = schedule.current_phase
    running = [one for one in schedule.phases if current is not None and one.start_date == current.start_date]
    if not running:
        raise BillingRefused("The payment provider's schedule for this subscription has no current phase.")
    [phase] = running
    first: SubscriptionScheduleUpdateParamsPhase = {**echo_phase(phase), "end_date": later.takes_effect_at}
    items = first["items"]
    if all(item["price"] != later.change.from_price_id for item in items):
        raise BillingRefused("The payment provider's schedule does not sell what the subscription sells.")
    interval, count = later.lasts
    second: SubscriptionScheduleUpdateParamsPhase = {
        **like_phase(first),
        "items": _changed_items(items, later),
        "duration": {"interval": interval, "interval_count": count},
        "proration_behavior": "none",
    }
    return [first, second]


def _changed_items(
    items: list[SubscriptionScheduleUpdateParamsPhaseItem], later: LaterChange
) -> list[SubscriptionScheduleUpdateParamsPhaseItem]:
    gone = {price_id for _, price_id in later.change.removes}
    added: list[SubscriptionScheduleUpdateParamsPhaseItem] = [{"price": price_id} for price_id in later.change.adds]
    return [*(_changed(item, later) for item in items if item["price"] not in gone), *added]


def _changed(
    item: SubscriptionScheduleUpdateParamsPhaseItem, later: LaterChange
) -> SubscriptionScheduleUpdateParamsPhaseItem:
    is_it = item["price"] == later.change.from_price_id
    if not is_it:
        return item
    changed: SubscriptionScheduleUpdateParamsPhaseItem = {**item, "price": later.change.price_id}
    if later.change.quantity is not None:
        changed["quantity"] = later.change.quantity
    return changed
