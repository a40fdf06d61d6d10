"""A customer pays one invoice by hand, with a card that is typed."""

from __future__ import annotations

from gateway.sandbox.cards import Card, CardRefused
from gateway.sandbox.engine.invoices import collect
from gateway.sandbox.engine.methods import attach, new_method
from gateway.sandbox.world import World


def pay_with(world: World, invoice_id: str, card: Card, *, exp_month: int, exp_year: int) -> None:
    """Pay what an invoice asks for. The card's bank has been asked, if it wants to be; nothing else is charged to it.

    Raises:
        CardRefused: it is not paid.
    """
    if not card.attaches:
        raise CardRefused(card.message, code="card_declined", decline_code=card.decline_code)
    method = new_method(world, card, exp_month=exp_month, exp_year=exp_year, is_set_up=True)
    attach(world, method.id, world.invoice(invoice_id).customer_id)
    refusal = collect(world, invoice_id, method_id=method.id, on_session=True)
    if refusal is not None:
        raise refusal
