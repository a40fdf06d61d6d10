"""Changes that Stripe makes by itself when the period ends: subscription schedules, of two phases.

A schedule takes the running subscription over as it is (`from_subscription`), is told a second phase, and lets the
subscription go behind it. A subscription has one at most, so two workers cannot make two. One that is there is never
told other phases: it would set on the subscription, at once, what that had when it was taken over. It is released,
and the subscription taken over anew.

    taken over, and nothing planned yet     the subscription goes on as if there were none
    planned                                 marked with our customer and plan, so that we know it again, and with
                                            how the subscription was paid and taxed (`terms`)

Source: https://docs.stripe.com/billing/subscriptions/subscription-schedules
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import stripe
import structlog

from gateway.billing.failures import is_missing, stripe_call
from gateway.billing.phases import behind, echo_defaults, echo_phase, like_phase
from gateway.billing.reading import id_of, read_phase_item
from gateway.billing.terms import is_outdated, label_of, read_label
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

log = structlog.get_logger(__name__)

_RUNNING = frozenset({"active", "not_started"})


class Scheduler:
    """Reads, plans and releases schedules. Every call fails as `failures.stripe_call` says."""

    def __init__(self, client: stripe.StripeClient, *, deadline_s: float) -> None:
        self._client = client
        self._deadline_s = deadline_s

    async def plan(self, later: LaterChange) -> None:
        """Have Stripe make a change at the end of the period. What was planned is released before.

        If it fails in the middle nothing is planned.
        """
        schedule = await self._take_over(later.change.subscription_id)
        marks = {METADATA_CUSTOMER: later.customer_id, METADATA_PLAN: later.plan_id}
        await self._tell(schedule, _two_phases(schedule, later), marks)

    async def plan_anew(self, schedule_id: str) -> bool:
        """Plan what a schedule of ours has planned once more, from the subscription as it is by now.

        To the letter: the same prices at the same instants, whatever policy sells by now. If it fails in the middle
        nothing is planned, so it is to be written down before (`PlanChanger.remember`).

        Returns:
            Whether it was; False: nothing is to come any more, and nothing was changed.
        """
        async with stripe_call("read a schedule", self._deadline_s):
            old = await self._client.v1.subscription_schedules.retrieve_async(schedule_id)
            coming, subscription_id = _coming(old), id_of(old.subscription)
            metadata = {} if old.metadata is None else old.metadata.to_dict()
        if subscription_id is None or not coming:
            return False
        await self.release(schedule_id)
        schedule = await self._take_over(subscription_id)
        first = _running_phase(schedule, coming[0].start_date)
        phases = [first, *(behind(first, phase, old.default_settings) for phase in coming)]
        await self._tell(schedule, phases, metadata, times=read_label(metadata)[1] + 1)
        return True

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

    async def _take_over(self, subscription_id: str) -> stripe.SubscriptionSchedule:
        """The schedule with the subscription that it was made of."""
        v1 = self._client.v1
        async with stripe_call("schedule a subscription", self._deadline_s):
            try:
                return await v1.subscription_schedules.create_async(
                    {"from_subscription": subscription_id, "expand": ["subscription"]}
                )
            except stripe.InvalidRequestError:
                there = id_of((await v1.subscriptions.retrieve_async(subscription_id)).schedule)
                if there is None:
                    raise
                return await v1.subscription_schedules.retrieve_async(there, {"expand": ["subscription"]})

    async def _tell(
        self,
        schedule: stripe.SubscriptionSchedule,
        phases: list[SubscriptionScheduleUpdateParamsPhase],
        metadata: dict[str, str],
        *,
        times: int = 0,
    ) -> None:
        """Plan the phases, none of which names a card: the schedule does, if its subscription has one of its own."""
        async with stripe_call("plan a change", self._deadline_s):
            subscription = schedule.subscription
            if not isinstance(subscription, stripe.Subscription):
                raise TypeError("the subscription of a schedule was not expanded")
            params: SubscriptionScheduleUpdateParams = {
                "phases": phases,
                "end_behavior": "release",
                "proration_behavior": "none",
                "metadata": {**metadata, **label_of(subscription, times)},
            }
            card, copied = id_of(subscription.default_payment_method), schedule.default_settings
            if card is not None and card != id_of(copied.default_payment_method):
                params["default_settings"] = echo_defaults(copied, card)
            await self._client.v1.subscription_schedules.update_async(schedule.id, params)


async def fetch_schedule(client: stripe.StripeClient, subscription: stripe.Subscription) -> ScheduleFacts | None:
    """A subscription's schedule with the prices of its next phase; None if it has none, or one that is over.

    Call it within `stripe_call`.
    """
    schedule_id = id_of(subscription.schedule)
    if schedule_id is None:
        return None
    try:
        schedule = await client.v1.subscription_schedules.retrieve_async(
            schedule_id, {"expand": ["phases.items.price"]}
        )
    except stripe.InvalidRequestError as error:
        if not is_missing(error):
            raise
        return None
    return read_schedule(schedule, subscription)


def read_schedule(schedule: stripe.SubscriptionSchedule, subscription: stripe.Subscription) -> ScheduleFacts | None:
    """Facts of a schedule whose prices were expanded, and of its subscription; None if it is over."""
    if schedule.status not in _RUNNING:
        return None
    coming = _coming(schedule)
    metadata = {} if schedule.metadata is None else schedule.metadata.to_dict()
    first = coming[0] if coming else None
    is_ours = METADATA_PLAN in metadata
    is_old = is_ours and first is not None and is_outdated(metadata, subscription)
    if is_old and not all(_is_sold(phase) for phase in coming):
        log.warning("planned change brings back what was replaced: its price is archived", schedule_id=schedule.id)
        is_old = False
    return ScheduleFacts(
        schedule_id=schedule.id,
        is_ours=is_ours,
        is_outdated=is_old,
        next_at=None if first is None else first.start_date,
        is_term=schedule.end_behavior != "release",
        next_items=()
        if first is None
        else tuple(read_phase_item(item, place, first.start_date) for place, item in enumerate(first.items)),
    )


def _coming(schedule: stripe.SubscriptionSchedule) -> list[stripe.SubscriptionSchedule.Phase]:
    """What is planned, the next first; nothing if the schedule is over."""
    if schedule.status not in _RUNNING:
        return []
    current = schedule.current_phase
    after = 0 if current is None else current.end_date
    return sorted((phase for phase in schedule.phases if phase.start_date >= after), key=lambda one: one.start_date)


def _is_sold(phase: stripe.SubscriptionSchedule.Phase) -> bool:
    """Whether all prices, which were expanded, may still be put into a phase."""
    return all(isinstance(item.price, stripe.Price) and item.price.active for item in phase.items)


def _running_phase(schedule: stripe.SubscriptionSchedule, ends_at: int) -> SubscriptionScheduleUpdateParamsPhase:
    """The current phase as it is, to that instant, also where somebody else made it longer."""
    current = schedule.current_phase
    running = [one for one in schedule.phases if current is not None and one.start_date == current.start_date]
    if not running:
        raise BillingRefused("The payment provider's schedule for this subscription has no current phase.")
    return {**echo_phase(running[0], schedule.default_settings), "end_date": ends_at}


def _two_phases(
    schedule: stripe.SubscriptionSchedule, later: LaterChange
) -> list[SubscriptionScheduleUpdateParamsPhase]:
    """The current phase, and behind it the same with the one price changed."""
    first = _running_phase(schedule, later.takes_effect_at)
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
