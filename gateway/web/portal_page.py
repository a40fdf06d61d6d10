"""The ways from our pages into Stripe's portal: to its beginning, or to the one act that helps.

Whoever owes is led to the card form, and is never held up by owing.
"""

from __future__ import annotations

from litestar import get, post
from litestar.params import FromPath

from gateway.billing import PortalFlowName
from gateway.web.billing_gate import needs_billing
from gateway.web.page_frame import FromVisit, Page
from gateway.web.stripe_turns import take_turn

_FLOWS: tuple[PortalFlowName, ...] = ("payment_method_update", "subscription_cancel", "subscription_update")
"""What can be linked to. A plan is confirmed by a form that names it."""


@post("/account/portal", guards=[needs_billing])
async def open_portal(visit: FromVisit) -> Page:
    """On to Stripe's page for cards, invoices and cancelling, or to the one act that the form names."""
    who = visit.require_signed_in()
    who.require_manager()
    await take_turn(visit.runtime, who.customer_id)
    flow = find_flow((await visit.form()).get("flow", ""))
    return visit.leave_for(await visit.checkouts.open_portal(who.customer_id, flow))


@get("/account/portal/{name:str}", guards=[needs_billing])
async def follow_portal(visit: FromVisit, name: FromPath[str]) -> Page:
    """A link to one act in Stripe's portal, as problems and mails have it. Whoever is not signed in does that first."""
    if visit.signed_in is None:
        flow = find_flow(name)
        return visit.see("/sign-in" if flow is None else f"/sign-in?act={flow}")
    visit.signed_in.require_manager()
    await take_turn(visit.runtime, visit.signed_in.customer_id)
    return visit.leave_for(await visit.checkouts.open_portal(visit.signed_in.customer_id, find_flow(name)))


def find_flow(text: str) -> PortalFlowName | None:
    """The act that a form or a link names; any other is as none, and the portal opens at its beginning."""
    return next((name for name in _FLOWS if name == text), None)
