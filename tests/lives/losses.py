"""Money that is taken back: what the seller refunds, what does not arrive, and what of it is so now.

Written without a look at the gateway, from the records of the account.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gateway.sandbox.engine.charges import fail_refund, last_charge_of, refund
from tests.lives.laws import LOST, REFUNDED

if TYPE_CHECKING:
    from gateway.sandbox.records import Charge, Invoice, Subscription
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


LOSSES: tuple[tuple[Act, int], ...] = ((refund_a_payment, 2), (have_a_refund_fail, 1))


def taken_back(world: World, one: Subscription) -> list[str]:
    """What is so of the payment of the period that was paid last."""
    invoices = [invoice for invoice in world.tables.invoices.values() if invoice.subscription_id == one.id]
    paid = [invoice for invoice in invoices if invoice.status == "paid" and _begins_a_period(invoice)]
    charges = [charge for charge in world.tables.charges.values() if paid and charge.invoice_id == paid[-1].id]
    words = []
    if any(_is_lost(world, charge) for charge in charges):
        words.append(LOST)
    if charges and all(charge.amount_refunded == charge.amount for charge in charges):
        words.append(REFUNDED)
    return words


def _begins_a_period(invoice: Invoice) -> bool:
    if invoice.billing_reason != "subscription_update":
        return True
    return any(not line.proration and line.period_starts_at == invoice.created for line in invoice.lines)


def _is_lost(world: World, charge: Charge) -> bool:
    return any(one.charge_id == charge.id and one.status == "lost" for one in world.tables.disputes.values())
