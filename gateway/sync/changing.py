"""Changing the plan of a running subscription: what it would cost, then doing it, now or at the period's end.

All start from what Stripe has now, not from our record (`wishing`). Laws, for any number of workers and clicks:
- a change that is there, or planned, already is not made again;
- a later change takes the place of a planned one: what was planned is forgotten before anything is changed,
  so that it cannot undo what the customer asked for since;
- a change that waits for a payment is answered with where to pay, and is given up for another one;
- what was planned comes back if the change that took its place is not paid, and is planned anew if it would bring
  back what was replaced since (`gateway.sync.restoring`);
- what somebody else planned for the subscription (the seller, Stripe's portal) is not touched.
"""

from __future__ import annotations

from dataclasses import replace

import structlog

from gateway.billing import ChangeResult, LaterChange
from gateway.clock import Clock
from gateway.core.billing_facts import SubscriptionFacts
from gateway.core.candidate import Candidate
from gateway.core.errors import BillingRefused, BillingUnavailable, Failed, TiergateError
from gateway.core.switching import When
from gateway.sync.change_rules import touchable
from gateway.sync.change_values import PlanChanged, PlanPreview
from gateway.sync.customers import Sync
from gateway.sync.extras import AS_IT_IS, ExtrasOrder
from gateway.sync.given_up import settled_left, used_left
from gateway.sync.letting_go import let_go
from gateway.sync.restoring import LostPlan, is_lost, is_outdated, is_spent, planned_words, read_lost
from gateway.sync.wish import Wish
from gateway.sync.wishing import wish_for

log = structlog.get_logger(__name__)

_RESTORE_PATIENCE_S = 2.0
"""How long a plan that comes back waits for its turn; then its event is tried again."""
_NOTHING_WAITS = ChangeResult(is_pending=False, payment_url=None)


class PlanChanges:
    """Previews and makes plan changes."""

    def __init__(self, *, sync: Sync, clock: Clock) -> None:
        self._sync = sync
        self._clock = clock

    async def preview(
        self,
        customer_id: str,
        plan_id: str | None,
        *,
        when: When | None = None,
        extras: ExtrasOrder = AS_IT_IS,
    ) -> PlanPreview:
        """What the change would cost if it were asked for now. Nothing is changed.

        Args:
            customer_id: Ours.
            plan_id: The plan to change to; None: the one that there is.
            when: When it is to take effect; None: as policy has it for such a change.
            extras: Seats and add-ons beside the plan.

        Raises:
            UnknownPlan, SeatsNotSold, AddOnNotSold, ChangeTimeRefused: It is not offered.
            NoSubscription, SubscriptionEnding, SubscriptionScheduled, PaymentRequired: It cannot be made.
            BillingUnavailable, BillingRefused, CustomerUnknown, LedgerUnavailable: Nobody can say.
        """
        wish = await self._wish(customer_id, plan_id, when, extras)
        change = wish.change if wish.when == "now" else replace(wish.change, proration="none")
        cost = await self._sync.billing.changes.preview(change)
        if wish.when == "period-end":
            cost = replace(cost, next_invoice_at=max(cost.next_invoice_at or 0, wish.takes_effect_at))
        return PlanPreview(
            plan_id=wish.plan.plan_id,
            direction=wish.direction,
            when=wish.when,
            allowed=self._sync.policy.switching.allowed(wish.direction),
            takes_effect_at=wish.takes_effect_at,
            cost=cost,
        )

    async def apply(
        self,
        customer_id: str,
        plan_id: str | None,
        *,
        actor: str,
        when: When | None = None,
        extras: ExtrasOrder = AS_IT_IS,
    ) -> PlanChanged:
        """Make or plan the change and record it, so that the very next call has the new tier.

        It is prorated at this moment, not at the preview's: who could name the moment could use a
        tier for an hour and give it back from before. The few seconds between make an upgrade no dearer.
        The plan that there is takes back what was planned instead of it.

        Args:
            customer_id: Ours.
            plan_id: The plan to change to; None: the one that there is.
            actor: For the audit log.
            when: When it is to take effect; None: as policy has it for such a change.
            extras: Seats and add-ons beside the plan.

        Raises:
            UnknownPlan, SeatsNotSold, AddOnNotSold, ChangeTimeRefused: It is not offered.
            NoSubscription, SubscriptionEnding, SubscriptionScheduled, PaymentRequired: It cannot be made.
            ChangeInProgress: Another one is being made.
            BillingUnavailable, BillingRefused, CustomerUnknown, LedgerUnavailable: It was not made, or
                nobody knows; to send it again is safe, since a plan that is there already costs nothing.
        """
        async with self._sync.turns.own(customer_id):
            wish = await self._wish(customer_id, plan_id, when, extras)
            if settled := settled_left(facts := wish.current.facts):
                await self._sync.billing.changes.remove(facts.subscription_id, settled, left=used_left(facts))
                wish = await self._wish(customer_id, plan_id, when, extras)
            if wish.when == "period-end":
                because = f"change to {wish.plan.plan_id} planned"
                await self._plan(customer_id, wish)
                result = _NOTHING_WAITS
            else:
                name = wish.plan.plan_id
                because = f"plan changed to {name}" if wish.direction != "same" else f"plan {name} kept"
                result = await self._make(wish)
            is_recorded = await self._record(customer_id, because, actor)
            if is_recorded and wish.change.removes:
                await self._let_go_soon(customer_id)
        return PlanChanged(
            plan_id=wish.plan.plan_id,
            result=result,
            when=wish.when,
            takes_effect_at=wish.takes_effect_at,
            is_recorded=is_recorded,
        )

    async def keep(self, customer_id: str, *, actor: str) -> bool:
        """Take back what was planned, if something is; the plan stays as it is.

        Returns:
            Whether the ledger knows already.

        Raises:
            SubscriptionScheduled: Somebody else planned it.
            ChangeInProgress: A change is being made.
            BillingUnavailable, BillingRefused, CustomerUnknown, LedgerUnavailable: It was not taken back, or
                nobody knows; to send it again is safe.
        """
        async with self._sync.turns.own(customer_id):
            current = await self._sync.fetch_current(customer_id)
            if current is not None:
                touchable(current.facts.schedule)
                await self._forget_planned_before(current.facts)
                await self._forget(current.facts)
            return await self._record(customer_id, "planned change taken back", actor)

    async def restore(self, customer_id: str, *, actor: str = "stripe") -> bool:
        """Plan again what was lost to a change that was not made, or would bring back what was replaced, if it is so.

        What was lost and cannot be planned any more is forgotten, with a line in the log. A schedule of which all is
        made is released.

        Returns:
            Whether it was planned.

        Raises:
            ChangeInProgress: Another change is being made, perhaps the one that took its place.
            BillingUnavailable, BillingRefused, CustomerUnknown, LedgerUnavailable: To do it again is safe.
        """
        async with self._sync.turns.own(customer_id, patience_s=_RESTORE_PATIENCE_S):
            current = await self._sync.fetch_current(customer_id)
            if current is not None and is_outdated(current.facts, int(self._clock.now())):
                return await self._plan_anew(customer_id, current)
            if current is not None and current.facts.schedule is not None and is_spent(current.facts):
                await self._sync.billing.changes.later.release(current.facts.schedule.schedule_id)
            if current is None or not is_lost(current.facts):
                return False
            because = None
            try:
                because = await self._plan_again(customer_id, read_lost(current.facts, self._sync.policy))
            except TiergateError as error:
                if isinstance(error, Failed):
                    raise
                log.warning("plan not restored", customer_id=customer_id, reason=str(error))
            if because is None:
                await self._forget_planned_before(current.facts)
            else:
                await self._record(customer_id, because, actor)
            return because is not None

    async def _plan_anew(self, customer_id: str, current: Candidate) -> bool:
        """What the customer has, and will have, stays as it is recorded."""
        facts, changes = current.facts, self._sync.billing.changes
        is_noted = await self._remember_planned(current)
        is_planned = facts.schedule is not None and await changes.later.plan_anew(facts.schedule.schedule_id)
        if is_noted:
            await changes.forget(facts.subscription_id)
        log.info("planned anew", customer_id=customer_id, is_planned=is_planned)
        return is_planned

    async def let_go(self, customer_id: str) -> None:
        """Remove the items that a change gave up and that bill usage, as far as all of it was reported.

        Raises:
            ChangeInProgress: A change is being made.
            BillingUnavailable, BillingRefused, CustomerUnknown, LedgerUnavailable: To do it again is safe.
        """
        async with self._sync.turns.own(customer_id, patience_s=_RESTORE_PATIENCE_S):
            await self._let_go(customer_id)

    async def _let_go(self, customer_id: str) -> None:
        current = await self._sync.fetch_current(customer_id)
        if current is not None and await let_go(self._sync, customer_id, current.facts):
            await self._record(customer_id, "metered items removed", "stripe")

    async def _let_go_soon(self, customer_id: str) -> None:
        """Now, or with the events that tell of the change that was made."""
        try:
            await self._let_go(customer_id)
        except (BillingUnavailable, BillingRefused) as error:
            log.warning("metered items not removed yet", customer_id=customer_id, reason=str(error))

    async def _plan_again(self, customer_id: str, lost: LostPlan | None) -> str | None:
        """Why, if it is planned now."""
        if lost is None:
            reason = "it was of another subscription, something is planned since, or nobody can read its words"
            log.warning("plan not restored", customer_id=customer_id, reason=reason)
            return None
        wish = await self._wish(customer_id, lost.plan_id, "period-end", lost.extras)
        if wish.when != "period-end":  # it is what there is
            return None
        await self._plan(customer_id, wish)
        return f"change to {lost.plan_id} planned again: what took its place was not made"

    async def _make(self, wish: Wish) -> ChangeResult:
        changes, pending = self._sync.billing.changes, wish.current.facts.pending
        gone = {item_id for item_id, _ in wish.change.removes}
        is_it = pending is not None and wish.leads_to(pending.items, also_removes=False)
        if pending is not None and is_it and wish.direction != "same" and gone == set(pending.gives_up):
            return ChangeResult(is_pending=True, payment_url=pending.payment_url)
        facts = wish.current.facts
        if wish.direction == "same" and not wish.change.adds and not gone:
            await self._forget_planned_before(facts)
            await self._forget(facts)
            return _NOTHING_WAITS
        is_noted = await self._remember_planned(wish.current)
        await self._forget(facts)
        return await changes.apply(replace(wish.change, replaces_planned=is_noted))

    async def _plan(self, customer_id: str, wish: Wish) -> None:
        facts, schedule = wish.current.facts, wish.schedule
        planned = () if schedule is None or schedule.is_outdated else schedule.next_items
        if planned and wish.leads_to(((one.price_id, one.quantity) for one in planned), also_removes=True):
            await self._forget_planned_before(facts)
            return
        is_noted = await self._remember_planned(wish.current)
        await self._forget(facts)
        later = LaterChange(
            change=wish.change,
            takes_effect_at=wish.takes_effect_at,
            lasts=(wish.price.interval or "month", wish.price.interval_count),
            customer_id=customer_id,
            plan_id=wish.plan.plan_id,
        )
        await self._sync.billing.changes.later.plan(later)
        if is_noted:
            await self._sync.billing.changes.forget(facts.subscription_id)

    async def _remember_planned(self, current: Candidate) -> bool:
        """Write on the subscription what is planned, which is about to be taken back; whether anything stands there."""
        facts = current.facts
        planned, planned_as = planned_words(facts, self._sync.policy, current.record)
        if planned and (planned, planned_as) != (facts.planned_before, facts.planned_as):
            await self._sync.billing.changes.remember(facts.subscription_id, planned, planned_as)
        return bool(planned or facts.planned_before)

    async def _forget(self, facts: SubscriptionFacts) -> None:
        """Take back what is planned, and what waits for a payment."""
        if facts.schedule is not None:
            await self._sync.billing.changes.later.release(facts.schedule.schedule_id)
        await self._give_up_waiting(facts)

    async def _forget_planned_before(self, facts: SubscriptionFacts) -> None:
        if facts.planned_before:
            await self._sync.billing.changes.forget(facts.subscription_id)

    async def _give_up_waiting(self, facts: SubscriptionFacts) -> None:
        if facts.pending is not None:
            await self._sync.billing.changes.give_up(facts.pending.invoice_id)

    async def _record(self, customer_id: str, because: str, actor: str) -> bool:
        try:
            await self._sync.sync_customer(customer_id, because, actor=actor)
        except (BillingUnavailable, BillingRefused) as error:
            log.warning("plan change not recorded yet", customer_id=customer_id, reason=str(error))
            return False
        return True

    async def _wish(self, customer_id: str, plan_id: str | None, when: When | None, extras: ExtrasOrder) -> Wish:
        return await wish_for(self._sync, int(self._clock.now()), customer_id, plan_id, when=when, extras=extras)
