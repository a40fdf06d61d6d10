"""The ways from our pages into Stripe's: to its portal's beginning, or to the one act that helps.

A payment that waits to be confirmed with the bank is no act of the portal: it is done on the page of its invoice.

Whoever owes is led to the card form, and is never held up by owing.
"""

from __future__ import annotations

from litestar import get, post
from litestar.params import FromPath

from gateway.billing import PortalFlowName
from gateway.core.standing_words import CONFIRMATION_PAGE
from gateway.sync import find_confirmation
from gateway.web.billing_gate import needs_billing
from gateway.web.page_frame import FromVisit, Page, Visit
from gateway.web.stripe_turns import take_turn

_FLOWS: tuple[PortalFlowName, ...] = ("payment_method_update", "subscription_cancel", "subscription_update")
"""What can be linked to. A plan is confirmed by a form that names it."""
CONFIRMS_PAYMENT = CONFIRMATION_PAGE.rpartition("/")[2]
"""What is linked to beside them."""


@post("/account/portal", guards=[needs_billing])
async def open_portal(visit: FromVisit) -> Page:
    """On to Stripe's page for cards, invoices and cancelling, or to the one act that the form names."""
    who = visit.require_signed_in()
    who.require_manager()
    await take_turn(visit.runtime, who.customer_id)
    return await _leave(visit, who.customer_id, (await visit.form()).get("flow", ""))


@get("/account/portal/{name:str}", guards=[needs_billing])
async def follow_portal(visit: FromVisit, name: FromPath[str]) -> Page:
    """A link to one act in Stripe's portal, as problems and mails have it. Whoever is not signed in does that first."""
    if visit.signed_in is None:
        act = find_act(name)
        return visit.see("/sign-in" if act is None else f"/sign-in?act={act}")
    visit.signed_in.require_manager()
    await take_turn(visit.runtime, visit.signed_in.customer_id)
    return await _leave(visit, visit.signed_in.customer_id, name)


async def _leave(visit: Visit, customer_id: str, act: str) -> Page:
    if act != CONFIRMS_PAYMENT:
        return visit.leave_for(await visit.checkouts.open_portal(customer_id, _find_flow(act)))
    url = await find_confirmation(visit.runtime.sync, customer_id)
    return visit.see("/account?done=confirmed") if url is None else visit.leave_for(url)


def find_act(text: str) -> str | None:
    """The act that a form or a link names; any other is as none, and the portal opens at its beginning."""
    return CONFIRMS_PAYMENT if text == CONFIRMS_PAYMENT else _find_flow(text)


def _find_flow(text: str) -> PortalFlowName | None:
    return next((name for name in _FLOWS if name == text), None)
