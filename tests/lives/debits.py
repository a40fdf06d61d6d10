"""Payments that take days: a bank debit promises at once, and arrives, or fails, some days later.

Stripe calls a subscription active as soon as its first debit is promised. What is true of it then is told here
from Stripe's side: nobody has paid for it yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lives.acts import PLANS, Act, pay_at, use_card

if TYPE_CHECKING:
    from gateway.sandbox.invoice_records import Invoice
    from gateway.sandbox.records import Subscription
    from gateway.sandbox.world import World
    from tests.lives.town import Buyer, Town

ARRIVES, FAILS = "000123456789", "000111111113"
_ACCOUNTS = ("pm_usBankAccount_success", "pm_usBankAccount_success", "pm_usBankAccount_insufficientFunds")


async def buy_by_debit(town: Town, buyer: Buyer) -> None:
    """The checkout completes, unpaid."""
    plan = town.chance.choice(PLANS)
    link = await town.act_as_web(town.checkouts.for_customer(buyer.customer_id, plan))
    await town.look_up(buyer)
    if link is not None:
        pay_at(town, link.session_id, town.chance.choice((ARRIVES, ARRIVES, FAILS)))


async def pay_by_debit_from_now_on(town: Town, buyer: Buyer) -> None:
    """In the portal: the next renewals are on their way for days."""
    await use_card(town, buyer, town.chance.choice(_ACCOUNTS))


DEBITS: tuple[tuple[Act, int], ...] = ((buy_by_debit, 3), (pay_by_debit_from_now_on, 2))


def is_never_paid(world: World, one: Subscription) -> bool:
    """Whether the invoice that a subscription began with is not paid, and nothing that makes good for it."""
    invoices = [invoice for invoice in world.tables.invoices.values() if invoice.subscription_id == one.id]
    if not invoices or one.status in {"incomplete", "incomplete_expired", "paused"}:
        return False
    first, *later = invoices
    if first.billing_reason != "subscription_create" or first.amount_due == 0 or first.status in {"draft", "paid"}:
        return False
    return not any(_makes_good(invoice, first) for invoice in later)


def _makes_good(invoice: Invoice, first: Invoice) -> bool:
    """While the first one is open, only a renewal that is paid tells that it is not waited for any more."""
    is_paid = invoice.status == "paid" and (invoice.amount_paid > 0 or invoice.subtotal == 0)
    return is_paid and (invoice.billing_reason == "subscription_cycle" or first.status != "open")
