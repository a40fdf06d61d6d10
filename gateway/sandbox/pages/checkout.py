"""The hosted checkout page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from gateway.sandbox.cards import CardRefused
from gateway.sandbox.engine.checkout import Payment, needs_method, pay
from gateway.sandbox.engine.choosing import ChoiceRefused, choose
from gateway.sandbox.pages.address_form import PARTS, read_address
from gateway.sandbox.pages.card_form import TypedCard, read_card, read_fields
from gateway.sandbox.pages.challenge import NOT_CONFIRMED, Bank, Question
from gateway.sandbox.pages.render import message_page, money, price_text, product_name, render
from gateway.sandbox.records import CheckoutSession
from gateway.sandbox.shapes.sessions import checkout_sum, checkout_total
from gateway.sandbox.simulator import Simulator
from gateway.sandbox.world import NoSuchRecord, World

_PLACEHOLDER = "{CHECKOUT_SESSION_ID}"


def success_url(session: CheckoutSession) -> str:
    """Where the payer goes afterwards."""
    return session.success_url.replace(_PLACEHOLDER, session.id)


def checkout_handlers(simulator: Simulator, bank: Bank) -> list[HTTPRouteHandler]:
    """The page and its form."""
    desk = _Desk(simulator, bank)

    @get("/c/pay/{session_id:str}")
    async def show(session_id: FromPath[str]) -> Response[Any]:
        simulator.catch_up()
        return desk.look(session_id, {}, None)

    @post("/c/pay/{session_id:str}", status_code=303)
    async def submit(session_id: FromPath[str], request: Request[Any, Any, Any]) -> Response[Any]:
        fields = await read_fields(request)
        simulator.catch_up()
        try:
            return desk.submit(session_id, fields)
        except (CardRefused, ChoiceRefused) as refused:
            return desk.look(session_id, fields, refused.message)
        except NoSuchRecord:
            return message_page("Something is gone", "What was for sale does not exist any more.", status=410)

    return [show, submit]


class _Desk:
    """Where payers hand in what they typed."""

    def __init__(self, simulator: Simulator, bank: Bank) -> None:
        self._simulator = simulator
        self._bank = bank

    def look(self, session_id: str, fields: Mapping[str, str], refusal: str | None) -> Response[Any]:
        """The page as it is, with what was typed."""
        session = self._simulator.world.tables.checkouts.get(session_id)
        return _not_open(session) or _page(self._simulator.world, session, fields, refusal)

    def submit(self, session_id: str, fields: Mapping[str, str]) -> Response[Any]:
        """Pay, or ask the card's bank first.

        Raises:
            CardRefused, ChoiceRefused: With a message for the payer; nothing has happened.
            NoSuchRecord: What is for sale is gone.
        """
        closed = _not_open(self._simulator.world.tables.checkouts.get(session_id))
        if closed is not None:
            return closed
        session = self._simulator.carry_out(lambda world: choose(world, session_id, fields))
        if fields.get("act") == "update":
            return self.look(session_id, fields, None)
        skips = not fields.get("card_number") and not needs_method(self._simulator.world, session)
        typed = None if skips else read_card(fields, self._simulator.now())
        address = read_address(fields) if asks_for_address(session) else None
        payment = replace(_payment(typed, fields), address=address)
        if typed is None or typed.card.challenge == "never":
            return self._complete(session_id, payment)
        return self._bank.ask(
            Question(
                what=f"{money(checkout_total(self._simulator.world, session), session.currency)} today",
                confirmed=lambda: self._confirmed(session_id, fields, payment),
                refused=lambda: self.look(session_id, fields, NOT_CONFIRMED),
            )
        )

    def _confirmed(self, session_id: str, fields: Mapping[str, str], payment: Payment) -> Response[Any]:
        """Meanwhile the page may have been closed, or paid in another tab."""
        try:
            return _not_open(self._simulator.world.tables.checkouts.get(session_id)) or self._complete(
                session_id, payment
            )
        except CardRefused as refused:
            return self.look(session_id, fields, refused.message)

    def _complete(self, session_id: str, payment: Payment) -> Response[Any]:
        done = self._simulator.carry_out(lambda world: pay(world, session_id, payment))
        return Redirect(success_url(done), status_code=303)


def _payment(typed: TypedCard | None, fields: Mapping[str, str]) -> Payment:
    if typed is None:
        return Payment(card=None, email=fields.get("email") or None, name=fields.get("name") or None)
    return Payment(
        card=typed.card,
        exp_month=typed.exp_month,
        exp_year=typed.exp_year,
        email=fields.get("email") or None,
        name=fields.get("name") or None,
    )


def _not_open(session: CheckoutSession | None) -> Response[str] | None:
    if session is None:
        return message_page("Page not found", "There is no such checkout.", status=404)
    if session.status == "complete":
        text = "This payment is complete: nothing more will be charged."
        return message_page("All done", text, status=200, link=success_url(session))
    if session.status == "expired":
        text = "This checkout has expired. Nothing was charged."
        return message_page("Expired", text, status=410, link=session.cancel_url)
    return None


def _page(
    world: World, session: CheckoutSession | None, fields: Mapping[str, str], refusal: str | None
) -> Response[str]:
    if session is None:
        raise NoSuchRecord("checkout.session", "")
    lines = [
        {
            "name": product_name(world, world.price(line.price_id)),
            "id": line.id,
            "quantity": line.quantity,
            "range": line.range,
            "price": price_text(world.price(line.price_id)),
        }
        for line in session.lines
    ]
    email = session.customer_email
    if session.customer_id is not None:
        email = checkout_customer_email(world, session.customer_id)
    return render(
        "checkout.html",
        session_id=session.id,
        status=402 if refusal else 200,
        lines=lines,
        address=PARTS if asks_for_address(session) else {},
        typed=fields,
        adjustable=session.allow_promotion_codes or any(line["range"] for line in lines),
        takes_codes=session.allow_promotion_codes,
        asked=_amounts(world, session),
        total=money(checkout_total(world, session), session.currency),
        trial_days=session.trial_days,
        email=fields.get("email") or email or "",
        name=fields.get("name", ""),
        refusal=refusal,
        is_required=needs_method(world, session),
        cancel_url=session.cancel_url,
    )


def asks_for_address(session: CheckoutSession) -> bool:
    """It is wanted by itself, or for the tax."""
    return session.asks_for_address or session.automatic_tax


def _amounts(world: World, session: CheckoutSession) -> dict[str, str]:
    """What the total is made of, where it is more than prices."""
    asked = checkout_sum(world, session)
    parts = {"Discount": -asked.discount, "Tax": asked.tax}
    return {name: money(amount, session.currency) for name, amount in parts.items() if amount}


def checkout_customer_email(world: World, customer_id: str) -> str | None:
    """The email that is known already, if the customer still exists."""
    customer = world.tables.customers.get(customer_id)
    return customer.email if customer is not None else None
