"""The billing portal page: card, plan, cancellation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from gateway.sandbox.cards import ActionRequired, CardRefused
from gateway.sandbox.engine.portal import (
    cancel_as_set,
    live_subscriptions,
    plans_on_offer,
    portal_of,
    resume,
    switch_plan,
    update_card,
)
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.pages.card_form import TypedCard, read_card, read_fields
from gateway.sandbox.pages.challenge import NOT_CONFIRMED, Bank, Question
from gateway.sandbox.pages.render import message_page, money, price_text, product_name, render
from gateway.sandbox.records import Json, PortalSession, Subscription
from gateway.sandbox.simulator import Simulator
from gateway.sandbox.world import NoSuchRecord, World

_Request = Request[Any, Any, Any]
_Act: TypeAlias = Callable[[World, PortalSession], None]


def portal_handlers(simulator: Simulator, bank: Bank) -> list[HTTPRouteHandler]:
    """The page and its forms; each form answers with a redirect to the page, or the page with a message."""
    desk = _Desk(simulator, bank)

    @get("/p/session/{session_id:str}")
    async def show(session_id: FromPath[str]) -> Response[Any]:
        simulator.catch_up()
        return _page(simulator.world, session_id, None)

    @post("/p/session/{session_id:str}/card", status_code=303)
    async def card(session_id: FromPath[str], request: _Request) -> Response[Any]:
        return desk.take_card(session_id, await read_fields(request))

    @post("/p/session/{session_id:str}/cancel", status_code=303)
    async def cancel(session_id: FromPath[str], request: _Request) -> Response[Any]:
        fields = await read_fields(request)
        return desk.act(session_id, lambda world, session: cancel_as_set(world, session, _id(fields)))

    @post("/p/session/{session_id:str}/resume", status_code=303)
    async def go_on(session_id: FromPath[str], request: _Request) -> Response[Any]:
        fields = await read_fields(request)
        return desk.act(session_id, lambda world, session: resume(world, session, _id(fields)))

    @post("/p/session/{session_id:str}/plan", status_code=303)
    async def plan(session_id: FromPath[str], request: _Request) -> Response[Any]:
        return desk.switch(session_id, await read_fields(request))

    return [show, card, cancel, go_on, plan]


class _Desk:
    """Where customers hand in their wishes. A card's bank is asked before what it wants confirmed is done."""

    def __init__(self, simulator: Simulator, bank: Bank) -> None:
        self._simulator = simulator
        self._bank = bank

    def act(self, session_id: str, act: _Act) -> Response[Any]:
        """Do one thing; what is not done leaves no trace."""
        try:
            return self._done(session_id, act)
        except (CardRefused, Refused) as refused:
            return _page(self._simulator.world, session_id, refused.message)

    def switch(self, session_id: str, fields: Mapping[str, str]) -> Response[Any]:
        """Change the plan."""

        def switch_to(*, is_confirmed: bool) -> _Act:
            return lambda world, session: switch_plan(
                world, session, _id(fields), fields.get("price", ""), is_confirmed=is_confirmed
            )

        try:
            return self._done(session_id, switch_to(is_confirmed=False))
        except ActionRequired:
            confirmed = switch_to(is_confirmed=True)
            return self._ask(session_id, "the price of another plan", lambda: self.act(session_id, confirmed))
        except (CardRefused, Refused) as refused:
            return _page(self._simulator.world, session_id, refused.message)

    def take_card(self, session_id: str, fields: Mapping[str, str]) -> Response[Any]:
        """Keep a card, and pay with it what is owed."""
        self._simulator.catch_up()
        try:
            typed = read_card(fields, self._simulator.now())
        except CardRefused as unread:
            return _page(self._simulator.world, session_id, unread.message)
        if typed.card.challenge == "never":
            return self._keep(session_id, typed)
        return self._ask(session_id, "this card is to be kept", lambda: self._keep(session_id, typed))

    def _keep(self, session_id: str, typed: TypedCard) -> Response[Any]:
        unpaid: list[CardRefused] = []

        def act(world: World, session: PortalSession) -> None:
            refusal = update_card(world, session, typed.card, exp_month=typed.exp_month, exp_year=typed.exp_year)
            unpaid.extend([refusal] if refusal else [])

        answer = self.act(session_id, act)
        if unpaid:
            text = "The card was saved, but the open invoice could not be paid with it."
            return _page(self._simulator.world, session_id, f"{text} {unpaid[0].message}")
        return answer

    def _ask(self, session_id: str, what: str, confirmed: Callable[[], Response[Any]]) -> Response[Any]:
        def refused() -> Response[Any]:
            return _page(self._simulator.world, session_id, NOT_CONFIRMED)

        return self._bank.ask(Question(what=what, confirmed=confirmed, refused=refused))

    def _done(self, session_id: str, act: _Act) -> Response[Any]:
        self._simulator.catch_up()
        try:
            session = portal_of(self._simulator.world, session_id)
            self._simulator.carry_out(lambda world: act(world, session))
        except NoSuchRecord:
            return message_page("Page not found", "There is no such page.", status=404)
        return Redirect(_after(session) or f"/p/session/{session_id}", status_code=303)


def _after(session: PortalSession) -> str | None:
    """Where a flow that is done leads by itself."""
    after = (session.flow or {}).get("after_completion", {})
    return str(after["redirect"]["return_url"]) if after.get("type") == "redirect" else None


def _id(fields: Mapping[str, str]) -> str:
    return fields.get("subscription", "")


def _page(world: World, session_id: str, refusal: str | None) -> Response[str]:
    session = world.tables.portals.get(session_id)
    if session is None:
        return message_page("Page not found", "There is no such page.", status=404)
    customer = world.tables.customers[session.customer_id]
    flow = session.flow or {}
    only, details = flow.get("type"), flow.get(flow.get("type", ""), None) or {}
    method = world.tables.payment_methods.get(_card_of(world, session) or "")
    return render(
        "portal.html",
        status=402 if refusal else 200,
        session_id=session.id,
        customer=customer.email or customer.id,
        only=only,
        confirms=_confirmed(world, details) if only == "subscription_update_confirm" else None,
        subscriptions=[
            _shown(world, one)
            for one in live_subscriptions(world, customer.id)
            if only is None or details.get("subscription") == one.id
        ],
        card=f"{method.brand} ending in {method.last4}" if method else None,
        owed=[
            {
                "id": one.id,
                "number": one.number,
                "amount": money(one.amount_due, one.currency),
                "way": "Pay it" if one.action_by is None else "Confirm the payment",
            }
            for one in world.tables.invoices.values()
            if one.customer_id == customer.id and one.status == "open"
        ],
        refusal=refusal,
        is_required=True,
        return_url=session.return_url,
    )


def _card_of(world: World, session: PortalSession) -> str | None:
    for subscription in live_subscriptions(world, session.customer_id):
        if subscription.default_payment_method_id:
            return subscription.default_payment_method_id
    return world.tables.customers[session.customer_id].default_payment_method_id


def _confirmed(world: World, details: Json) -> Json:
    [item] = details["items"]
    price = world.price(item["price"])
    return {"price": price.id, "text": f"{product_name(world, price)}, {price_text(price)}"}


def _shown(world: World, subscription: Subscription) -> Json:
    current = world.price(subscription.items[0].price_id)
    return {
        "id": subscription.id,
        "name": product_name(world, current),
        "price": price_text(current),
        "status": subscription.status.replace("_", " "),
        "ends_at": subscription.cancel_at,
        "renews_at": subscription.period_ends_at,
        "others": [
            {"id": price.id, "text": f"{product_name(world, price)}, {price_text(price)}"}
            for price in plans_on_offer(world)
            if price.id != current.id and price.currency == subscription.currency
        ],
    }
