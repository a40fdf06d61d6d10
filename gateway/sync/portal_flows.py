"""Which act of Stripe's portal can be linked to, for a customer as it is at Stripe now.

A card can always be changed: whoever owes is led there, and is never held up by owing. The other acts need a
subscription that they can be done to, and are refused here in the words of every other change. A subscription of
several items (add-ons, what is billed by use) is changed here only: of the portal, Stripe says that "subscriptions with
multiple items are not updatable" (https://docs.stripe.com/api/customer_portal/sessions/create), and the portal's
beginning has no form for it either, so it is no way out.
"""

from __future__ import annotations

from gateway.billing import PortalFlow, PortalFlowName
from gateway.core.errors import PaymentRequired
from gateway.core.plan_map import ENDED_STATUSES, GOOD_STATUSES
from gateway.core.purchase import nearest_seats
from gateway.sync.change_rules import refuse_mixed
from gateway.sync.change_values import (
    NoSubscription,
    PortalCannotChange,
    SubscriptionEnding,
    SubscriptionScheduled,
    UnknownPlan,
    no_plan_words,
)
from gateway.sync.currencies import price_of
from gateway.sync.customers import Sync
from gateway.sync.refusing_more import refuse_more
from gateway.sync.unpaid import refuse_unconfirmed, refuse_unpaid


async def portal_flow(
    sync: Sync, customer_id: str, name: PortalFlowName, done_url: str, plan_id: str | None = None
) -> PortalFlow:
    """What the portal is to open at.

    Args:
        sync: Reads Stripe.
        customer_id: Ours.
        name: Stripe's word for the act.
        done_url: Where the browser is to go when it is done.
        plan_id: The plan to be confirmed, for `subscription_update_confirm`.

    Raises:
        UnknownPlan: Policy sells no such plan.
        NoSubscription, SubscriptionEnding, SubscriptionScheduled, PaymentRequired: It cannot be done.
        AccountSuspended, CollectionPaused: It could take more, and nothing more is sold.
        CurrencyDiffers: The plan is not sold in the currency of the subscription.
        IntervalsDiffer: Neither here nor in the portal: the items of the subscription do not renew together.
        PortalCannotChange: It can be done here, and not in the portal.
        BillingUnavailable, BillingRefused, CustomerUnknown, LedgerUnavailable: Nobody can say.
    """
    if name == "payment_method_update":
        return PortalFlow(name=name, done_url=done_url)
    plan = None if plan_id is None else sync.policy.plans.get(plan_id)
    if name == "subscription_update_confirm" and plan is None:
        raise UnknownPlan(no_plan_words(plan_id))
    current = await sync.fetch_current(customer_id)
    if current is None or current.item is None or current.record.status in ENDED_STATUSES:
        raise NoSubscription("There is no running subscription.")
    subscription_id, status = current.record.subscription_id, current.record.status
    if current.record.cancel_at is not None:
        raise SubscriptionEnding("The subscription is set to end already; resume it in the billing portal.")
    if name == "subscription_cancel":
        return PortalFlow(name=name, done_url=done_url, subscription_id=subscription_id)
    refuse_unpaid(current)
    await refuse_more(sync, customer_id, current)
    if status not in GOOD_STATUSES:
        refuse_unconfirmed(current)
        raise PaymentRequired(
            "A payment is due on the subscription; pay it before changing the plan.",
            payment_url=current.facts.payment_url,
        )
    if current.facts.schedule is not None and current.facts.schedule.next_at is not None:
        raise SubscriptionScheduled("A change of this subscription is planned; take it back first.")
    refuse_mixed(current.facts)
    if len(current.facts.items) > 1:
        raise PortalCannotChange(
            "The billing portal changes no subscription that has add-ons or usage beside its plan. Change it on the "
            "account page, or with 'POST subscription/change'."
        )
    if plan is None:
        return PortalFlow(name=name, done_url=done_url, subscription_id=subscription_id)
    is_there = plan == current.plan
    price = await price_of(sync, plan, current)
    return PortalFlow(
        name=name,
        done_url=done_url,
        subscription_id=subscription_id,
        item_id=current.item.item_id,
        price_id=price.price_id,
        quantity=current.item.quantity if is_there else nearest_seats(plan, current.item.quantity),
    )
