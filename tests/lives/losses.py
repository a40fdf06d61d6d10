"""Money that is taken back: what the seller refunds, what does not arrive, what it gives, and what of it is so now.

Written without a look at the gateway, from the records of the account.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from gateway.sandbox.engine.charges import fail_refund, last_charge_of, refund
from tests.lives.acts import running
from tests.lives.laws import LOST, REFUNDED
from tests.lives.sold import TIERS

if TYPE_CHECKING:
    from gateway.sandbox.invoice_records import Invoice
    from gateway.sandbox.records import Charge, Subscription
    from gateway.sandbox.world import World
    from tests.lives.acts import Act
    from tests.lives.town import Buyer, Town


async def refund_a_payment(town: Town, buyer: Buyer) -> None:
    """The newest, mostly all of it."""
    charge = last_charge_of(town.simulator.world, buyer.stripe_customer_id or "")
    amount = None if town.chance.random() < 0.8 else 100
    town.simulator.carry_out(partial(refund, charge_id=charge.id, amount=amount))


async def have_a_refund_fail(town: Town, buyer: Buyer) -> None:
    """It comes back, days after it was made."""
    tables = town.simulator.world.tables
    for one in list(tables.refunds.values()):
        if tables.charges[one.charge_id].customer_id == buyer.stripe_customer_id:
            town.simulator.carry_out(partial(fail_refund, refund_id=one.id, reason="declined"))


async def be_given_money(town: Town, buyer: Buyer) -> None:
    """On the balance at Stripe, by the seller, who may also take off what stands there."""
    balance = town.chance.choice((-2_900, -2_900, -9_000, 0))
    town.stripe("POST", f"/v1/customers/{await town.stripe_customer(buyer)}", balance=str(balance))


async def live_on_a_credit(town: Town, buyer: Buyer) -> None:
    """A year is paid for and given up for a month in the portal: the rest of it pays, unless it is wanted back too."""
    for one in running(town, buyer):
        [base] = [item for item in one.items if item.price_id in TIERS]
        for price in ("price_pro_yearly", "price_pro_monthly"):
            town.stripe("POST", f"/v1/subscriptions/{one.id}", items={"0": {"id": base.id, "price": price}})
    if town.chance.random() < 0.5:
        await refund_a_payment(town, buyer)


_Marked: TypeAlias = list[tuple[frozenset[str], int]]
"""What stands on a balance, the first to be used first: whose money it is, and how many cents."""
LOSSES: tuple[tuple[Act, int], ...] = (
    (refund_a_payment, 2),
    (have_a_refund_fail, 1),
    (be_given_money, 2),
    (live_on_a_credit, 3),
)


def taken_back(world: World, one: Subscription) -> list[str]:
    """What is so of the payments by which the period was paid that was paid last."""
    invoices = [invoice for invoice in world.tables.invoices.values() if invoice.subscription_id == one.id]
    paid = [invoice for invoice in invoices if invoice.status == "paid" and _begins_a_period(invoice)]
    payers = _payers_of(world, paid[-1]) if paid else frozenset()
    charges = [charge for charge in world.tables.charges.values() if charge.invoice_id in payers]
    words = []
    if any(_is_lost(world, charge) for charge in charges):
        words.append(LOST)
    if charges and all(charge.amount_refunded == charge.amount for charge in charges):
        words.append(REFUNDED)
    return words


def _payers_of(world: World, wanted: Invoice) -> frozenset[str]:
    """Invoices that were charged for this one: itself, or, if the balance paid, those of whose money that was.

    The balance is lived through from its beginning. What a fall gives back is marked with whose money it is; a gift is
    not, and goes last.
    """
    if wanted.amount_paid:
        return frozenset({wanted.id})
    mine = [one for one in world.tables.invoices.values() if one.customer_id == wanted.customer_id]
    payers: dict[str, frozenset[str]] = {}
    marked: _Marked = []
    for one in sorted([one for one in mine if one.status == "paid"], key=lambda one: one.finalized_at or 0):
        _, marked = _split(marked, sum(cents for _, cents in marked) + min(one.starting_balance, 0))
        back = [(payers.get(line.credits[0]), -line.amount) for line in one.lines if line.credits is not None]
        marked += [(whose, cents) for whose, cents in back if whose and cents > 0]
        asked = one.total + sum(cents for whose, cents in back if whose)
        used, marked = _split(marked, asked)
        payers[one.id] = frozenset({one.id}) if one.amount_paid else frozenset().union(*(whose for whose, _ in used))
    return payers[wanted.id]


def _split(marked: _Marked, amount: int) -> tuple[_Marked, _Marked]:
    """The first cents of it, up to an amount, and the rest."""
    first: _Marked = []
    rest: _Marked = []
    for whose, cents in marked:
        taken = max(min(cents, amount), 0)
        amount -= taken
        first += [(whose, taken)] if taken else []
        rest += [(whose, cents - taken)] if cents > taken else []
    return first, rest


def _begins_a_period(invoice: Invoice) -> bool:
    if invoice.billing_reason != "subscription_update":
        return True
    return any(not line.proration and line.period_starts_at == invoice.created for line in invoice.lines)


def _is_lost(world: World, charge: Charge) -> bool:
    return any(one.charge_id == charge.id and one.status == "lost" for one in world.tables.disputes.values())
