"""The hosted invoice page at /i/{id}: what is owed, the payment that waits to be confirmed, and a card form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from gateway.sandbox.cards import CardRefused
from gateway.sandbox.engine.invoices import confirm, refuse_confirmation
from gateway.sandbox.engine.paying import pay_with
from gateway.sandbox.invoice_records import Invoice
from gateway.sandbox.pages.card_form import read_card, read_fields
from gateway.sandbox.pages.challenge import NOT_CONFIRMED, Bank, Question
from gateway.sandbox.pages.render import message_page, money, render
from gateway.sandbox.simulator import Simulator
from gateway.sandbox.world import World

_CLOSED = {
    "paid": ("Paid", "This invoice is paid: nothing more is due.", 200),
    "void": ("Withdrawn", "This invoice was withdrawn: nothing is due.", 410),
}


def invoice_handlers(simulator: Simulator, bank: Bank) -> list[HTTPRouteHandler]:
    """The page and its forms. Whoever pays is there, so a card's bank is asked before it is charged."""
    desk = _Desk(simulator, bank)

    @get("/i/{invoice_id:str}")
    async def show(invoice_id: FromPath[str]) -> Response[Any]:
        simulator.catch_up()
        return desk.look(invoice_id)

    @post("/i/{invoice_id:str}/confirm", status_code=303)
    async def ask_bank(invoice_id: FromPath[str]) -> Response[Any]:
        simulator.catch_up()
        return desk.ask_again(invoice_id)

    @post("/i/{invoice_id:str}", status_code=303)
    async def pay(invoice_id: FromPath[str], request: Request[Any, Any, Any]) -> Response[Any]:
        fields = await read_fields(request)
        simulator.catch_up()
        try:
            return desk.take(invoice_id, fields)
        except CardRefused as refused:
            return desk.look(invoice_id, refused.message)

    return [show, ask_bank, pay]


class _Desk:
    """Where customers pay what they owe."""

    def __init__(self, simulator: Simulator, bank: Bank) -> None:
        self._simulator = simulator
        self._bank = bank

    def look(self, invoice_id: str, refusal: str | None = None) -> Response[Any]:
        """The page as it is."""
        invoice = self._simulator.world.tables.invoices.get(invoice_id)
        return _page(invoice, refusal)

    def ask_again(self, invoice_id: str) -> Response[Any]:
        """Go on with the payment that waits to be confirmed."""
        invoice = self._simulator.world.tables.invoices.get(invoice_id)
        if invoice is None or invoice.action_by is None or not _is_payable(invoice):
            return self.look(invoice_id)
        return self._bank.ask(
            Question(
                what=_asked_for(invoice),
                confirmed=lambda: self._done(invoice_id, lambda world: confirm(world, invoice_id)),
                refused=lambda: self._not_confirmed(invoice_id),
            )
        )

    def take(self, invoice_id: str, fields: Mapping[str, str]) -> Response[Any]:
        """Pay with the card that was typed.

        Raises:
            CardRefused: With a message for the payer.
        """
        invoice = self._simulator.world.tables.invoices.get(invoice_id)
        if invoice is None or not _is_payable(invoice):
            return self.look(invoice_id)
        typed = read_card(fields, self._simulator.now())

        def act(world: World) -> None:
            pay_with(world, invoice_id, typed.card, exp_month=typed.exp_month, exp_year=typed.exp_year)

        if typed.card.challenge == "never":
            return self._done(invoice_id, act)
        return self._bank.ask(
            Question(
                what=_asked_for(invoice),
                confirmed=lambda: self._done(invoice_id, act),
                refused=lambda: self.look(invoice_id, NOT_CONFIRMED),
            )
        )

    def _done(self, invoice_id: str, act: Callable[[World], None]) -> Response[Any]:
        self._simulator.carry_out(act, keeps_failures=True)
        return Redirect(f"/i/{invoice_id}", status_code=303)

    def _not_confirmed(self, invoice_id: str) -> Response[Any]:
        self._simulator.carry_out(lambda world: refuse_confirmation(world, invoice_id))
        return self.look(invoice_id, NOT_CONFIRMED)


def _asked_for(invoice: Invoice) -> str:
    """`$29.00 for invoice CUS-0002`."""
    return f"{money(invoice.amount_due, invoice.currency)} for invoice {invoice.number}"


def _is_payable(invoice: Invoice) -> bool:
    return invoice.status in {"open", "uncollectible"} and invoice.arrives_at is None


def _page(invoice: Invoice | None, refusal: str | None) -> Response[Any]:
    if invoice is None or invoice.finalized_at is None:
        return message_page("Page not found", "There is no such invoice.", status=404)
    if invoice.status in _CLOSED:
        title, text, status = _CLOSED[invoice.status]
        return message_page(title, text, status=status)
    if not _is_payable(invoice):
        return message_page("On its way", "The payment is on its way from the bank.", status=200)
    return render(
        "invoice.html",
        status=402 if refusal else 200,
        invoice_id=invoice.id,
        number=invoice.number,
        lines=[{"description": one.description, "amount": money(one.amount, one.currency)} for one in invoice.lines],
        total=money(invoice.amount_due, invoice.currency),
        waits=invoice.action_by is not None,
        refusal=refusal,
        is_required=True,
    )
