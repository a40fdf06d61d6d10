"""What happens in a life: what buyers do, what the seller does in Stripe's dashboard, what time does.

One line each in `ACTS`; payments that take days are in `debits`, and money that is taken back in `losses`. An act may
be impossible at the moment; then nothing happens. Whatever an act changes at Stripe, the gateway hears of it by events
only, unless it did it itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from gateway.capping import NoOverage
from gateway.granting import TierOrder
from gateway.sandbox.cards import read_number
from gateway.sandbox.engine.charges import last_charge_of, move_dispute, open_dispute
from gateway.sandbox.engine.checkout import Payment, pay
from gateway.sandbox.engine.invoices import confirm, refuse_confirmation
from tests.lives.beyond import CENTS
from tests.lives.laws import DAY_S
from tests.lives.sold import ADD_ONS, TIERS

if TYPE_CHECKING:
    from gateway.core.switching import When
    from gateway.sandbox.records import Item, Subscription
    from tests.lives.town import Buyer, Town

Act: TypeAlias = Callable[["Town", "Buyer"], Awaitable[None]]
PLANS = ("pro-monthly", "pro-yearly", "enterprise-monthly")
_GOOD, _FAILS_LATER = "4242424242424242", "4000000000000341"
_WHEN: tuple[When | None, ...] = (None, None, "period-end")
_LATEST = 12 * DAY_S


async def buy(town: Town, buyer: Buyer) -> None:
    """By the gateway's checkout; the buyer may go away, or have a card that fails at the renewal."""
    plan = town.chance.choice(PLANS)
    link = await town.act_as_web(town.checkouts.for_customer(buyer.customer_id, plan))
    await town.look_up(buyer)  # whom Stripe did not have any more is somebody new there by now, who has nothing yet
    if link is not None and town.chance.random() < 0.9:
        pay_at(town, link.session_id, town.chance.choice((_GOOD, _GOOD, _FAILS_LATER)))


def pay_at(town: Town, session_id: str, card: str) -> None:
    """On the hosted page."""
    payment = Payment(card=read_number(card), exp_month=12, exp_year=2099)
    town.simulator.carry_out(lambda world: pay(world, session_id, payment))


async def buy_twice(town: Town, buyer: Buyer) -> None:
    """Two pages are opened, and both are paid if they let themselves be paid."""
    await buy(town, buyer)
    await buy(town, buyer)


async def subscribe_by_hand(town: Town, buyer: Buyer) -> None:
    """The seller makes a subscription in the dashboard, with a trial or without, paid or not."""
    cus = await town.stripe_customer(buyer)
    price = town.chance.choice(("price_pro_monthly", "price_enterprise_monthly"))
    fields: dict[str, Any] = {"customer": cus, "items": {"0": {"price": price}}}
    if town.chance.random() < 0.7:
        fields["items"]["1"] = {"price": "price_api_overage"}
    if town.chance.random() < 0.5:
        fields["trial_period_days"] = "5"
        behavior = town.chance.choice(("create_invoice", "pause", "cancel"))
        fields["trial_settings"] = {"end_behavior": {"missing_payment_method": behavior}}
    if town.chance.random() < 0.6:
        fields["default_payment_method"] = _card(
            town, cus, town.chance.choice(("pm_card_visa", "pm_card_chargeCustomerFail"))
        )
    if not running(town, buyer):
        town.stripe("POST", "/v1/subscriptions", **fields)


async def change_plan(town: Town, buyer: Buyer) -> None:
    """Up, down, or to another interval, by the gateway: as its policy has it, or with the renewal."""
    plan, when = town.chance.choice(PLANS), town.chance.choice(_WHEN)
    await town.act_as_web(town.changes.apply(buyer.customer_id, plan, actor="buyer", when=when))


async def change_plan_twice(town: Town, buyer: Buyer) -> None:
    """What was planned first is replaced, or both are made, and one may wait for a payment."""
    await change_plan(town, buyer)
    await change_plan(town, buyer)


async def keep_the_plan(town: Town, buyer: Buyer) -> None:
    """What was planned is taken back."""
    await town.act_as_web(town.changes.keep(buyer.customer_id, actor="buyer"))


async def change_plan_in_the_portal(town: Town, buyer: Buyer) -> None:
    """The same at Stripe, without us."""
    for one in running(town, buyer):
        price = f"price_{town.chance.choice(PLANS).replace('-', '_')}"
        items = {"0": {"id": _base_of(one).id, "price": price}}
        metered = _metered_of(one)
        if metered is not None and town.chance.random() < 0.7:
            items["1"] = {"id": metered.id, "price": town.chance.choice(tuple(CENTS))}
        behavior = town.chance.choice(("allow_incomplete", "pending_if_incomplete"))
        town.stripe("POST", f"/v1/subscriptions/{one.id}", items=items, payment_behavior=behavior)


async def change_the_seats_in_the_portal(town: Town, buyer: Buyer) -> None:
    """More of them, or fewer."""
    for one in running(town, buyer):
        items = {"0": {"id": _base_of(one).id, "quantity": str(town.chance.randint(1, 5))}}
        town.stripe("POST", f"/v1/subscriptions/{one.id}", items=items)


async def buy_or_drop_an_add_on(town: Town, buyer: Buyer) -> None:
    """In the dashboard."""
    for one in running(town, buyer):
        there = [item.id for item in one.items if item.price_id in ADD_ONS]
        wanted = {"price": "price_sso", "quantity": str(town.chance.randint(1, 3))}
        items = {"0": {"id": there[0], "deleted": "true"} if there else wanted}
        town.stripe("POST", f"/v1/subscriptions/{one.id}", items=items)


async def buy_or_drop_overage(town: Town, buyer: Buyer) -> None:
    """In the dashboard: the metered item comes, or goes with what was used at it."""
    for one in running(town, buyer):
        metered = _metered_of(one)
        items = {"0": {"price": "price_api_overage"} if metered is None else {"id": metered.id, "deleted": "true"}}
        town.stripe("POST", f"/v1/subscriptions/{one.id}", items=items)


async def let_the_card_fail(town: Town, buyer: Buyer) -> None:
    """From the next renewal on."""
    await use_card(town, buyer, "pm_card_chargeCustomerFail")


async def let_the_bank_ask(town: Town, buyer: Buyer) -> None:
    """Of every payment from now on, also of one that is due."""
    await use_card(town, buyer, "pm_card_authenticationRequired")


async def confirm_with_the_bank(town: Town, buyer: Buyer) -> None:
    """What waits for it, on the page of its invoice; or it is not confirmed."""
    for one in running(town, buyer):
        if one.latest_invoice_id is not None:
            act = confirm if town.chance.random() < 0.8 else refuse_confirmation
            town.simulator.carry_out(partial(act, invoice_id=one.latest_invoice_id))


async def mend_the_card(town: Town, buyer: Buyer) -> None:
    """And pay what is due."""
    await use_card(town, buyer, "pm_card_visa")
    await pay_what_is_due(town, buyer)


async def pay_what_is_due(town: Town, buyer: Buyer) -> None:
    """The open invoice."""
    for one in running(town, buyer):
        town.stripe("POST", f"/v1/invoices/{one.latest_invoice_id}/pay")


async def give_the_payment_up(town: Town, buyer: Buyer) -> None:
    """The seller writes the open invoice off, one way or the other."""
    for one in running(town, buyer):
        how = town.chance.choice(("void", "mark_uncollectible"))
        town.stripe("POST", f"/v1/invoices/{one.latest_invoice_id}/{how}")


async def pause_collection(town: Town, buyer: Buyer) -> None:
    """For good, or until a date."""
    for one in running(town, buyer):
        pause = {"behavior": town.chance.choice(("keep_as_draft", "mark_uncollectible", "void"))}
        if town.chance.random() < 0.5:
            pause["resumes_at"] = str(town.simulator.world.now + _LATEST)
        town.stripe("POST", f"/v1/subscriptions/{one.id}", pause_collection=pause)


async def resume_collection(town: Town, buyer: Buyer) -> None:
    """If it is paused."""
    for one in running(town, buyer):
        town.stripe("POST", f"/v1/subscriptions/{one.id}", pause_collection="")


async def cancel_at_period_end(town: Town, buyer: Buyer) -> None:
    """By a date, or by the period's end."""
    for one in running(town, buyer):
        how = town.chance.choice(({"cancel_at_period_end": "true"}, {"cancel_at": "min_period_end"}))
        town.stripe("POST", f"/v1/subscriptions/{one.id}", **how)


async def stay_after_all(town: Town, buyer: Buyer) -> None:
    """The cancellation is taken back."""
    for one in running(town, buyer):
        town.stripe("POST", f"/v1/subscriptions/{one.id}", cancel_at_period_end="false")


async def cancel_now(town: Town, buyer: Buyer) -> None:
    """At once."""
    for one in running(town, buyer):
        town.stripe("DELETE", f"/v1/subscriptions/{one.id}")


async def delete_the_customer(town: Town, buyer: Buyer) -> None:
    """In the dashboard; everything it had goes with it."""
    if buyer.stripe_customer_id is not None:
        town.stripe("DELETE", f"/v1/customers/{buyer.stripe_customer_id}")


async def dispute_a_payment(town: Town, buyer: Buyer) -> None:
    """With the bank."""
    cus = buyer.stripe_customer_id or ""
    town.simulator.carry_out(lambda world: open_dispute(world, last_charge_of(world, cus).id, reason="fraudulent"))


async def end_a_dispute(town: Town, buyer: Buyer) -> None:
    """For the seller or against it."""
    disputes = town.simulator.world.tables.disputes.values()
    charges = town.simulator.world.tables.charges
    for one in [one for one in disputes if charges[one.charge_id].customer_id == buyer.stripe_customer_id]:
        how, number = town.chance.choice(("won", "lost")), one.id
        town.simulator.carry_out(partial(move_dispute, dispute_id=number, status=how))


async def grant_a_tier(town: Town, buyer: Buyer) -> None:
    """By hand, for some days. Whoever is not answered does not know whether it is so."""
    tier, ends_at = town.chance.choice(("pro", "enterprise")), int(town.now()) + town.chance.choice((1, 5, 40)) * DAY_S
    order = TierOrder(tier=tier, ends_at=ends_at)
    done = await town.act_as_web(town.granting.grant(buyer.customer_id, order, town.policy, actor="test"))
    buyer.grants = {(tier, ends_at)} | (buyer.grants if done is None else set())


async def take_a_tier_back(town: Town, buyer: Buyer) -> None:
    """The same, before its end."""
    work = town.granting.take_back(buyer.customer_id, town.policy, actor="test", because="test")
    done = await town.act_as_web(work)
    buyer.grants = {None} | (buyer.grants if done is None else set())


async def come_back_from_the_checkout(town: Town, buyer: Buyer) -> None:
    """The success page asks for a sync without waiting for an event."""
    await town.act_as_web(town.sync.sync_customer(buyer.customer_id, "came back"))


async def wait(_town: Town, _buyer: Buyer) -> None:
    """Only time passes."""


async def call_and_cap(town: Town, buyer: Buyer) -> None:
    """Beside all else: the API that is sold is called, and what that may cost is capped."""
    if town.chance.random() < 0.2:
        with suppress(NoOverage):
            await town.calling.cap(buyer)
    if town.chance.random() < (0.8 if town.calling.may_exceed(buyer) else 0.2):
        await town.calling.call(buyer)


ACTS: tuple[tuple[Act, int], ...] = (
    (wait, 5),
    (buy, 10),
    (buy_twice, 1),
    (subscribe_by_hand, 3),
    (change_plan, 3),
    (change_plan_twice, 2),
    (keep_the_plan, 1),
    (change_plan_in_the_portal, 3),
    (change_the_seats_in_the_portal, 2),
    (buy_or_drop_an_add_on, 2),
    (buy_or_drop_overage, 1),
    (let_the_card_fail, 4),
    (let_the_bank_ask, 2),
    (confirm_with_the_bank, 2),
    (mend_the_card, 3),
    (pay_what_is_due, 2),
    (give_the_payment_up, 1),
    (pause_collection, 2),
    (resume_collection, 1),
    (cancel_at_period_end, 2),
    (stay_after_all, 1),
    (cancel_now, 2),
    (delete_the_customer, 1),
    (dispute_a_payment, 2),
    (end_a_dispute, 1),
    (come_back_from_the_checkout, 1),
    (grant_a_tier, 2),
    (take_a_tier_back, 1),
)
"""Each act, and how often it happens beside the others."""
BEGINNINGS = (buy, buy, buy, subscribe_by_hand)
"""What makes most other acts possible."""


def running(town: Town, buyer: Buyer) -> list[Subscription]:
    """What a buyer has at Stripe that is not over."""
    found = town.simulator.world.subscriptions_of(buyer.stripe_customer_id or "")
    return [one for one in found if one.ended_at is None and one.status != "canceled"]


def _base_of(one: Subscription) -> Item:
    return next(item for item in one.items if item.price_id in TIERS)


def _metered_of(one: Subscription) -> Item | None:
    return next((item for item in one.items if item.price_id in CENTS), None)


def _card(town: Town, cus: str, name: str) -> str:
    attached: str = town.stripe("POST", f"/v1/payment_methods/{name}/attach", customer=cus)["id"]
    return attached


async def use_card(town: Town, buyer: Buyer, name: str) -> None:
    for one in running(town, buyer):
        method = _card(town, one.customer_id, name)
        town.stripe("POST", f"/v1/subscriptions/{one.id}", default_payment_method=method)
