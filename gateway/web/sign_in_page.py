"""Signing in with an API key, and out again.

The key is read from a form's body, looked up once, and forgotten: it is in no address, no
cookie, no log and no answer.
"""

from __future__ import annotations

from litestar import get, post

from gateway.core.errors import AddressNotAllowed, InvalidKey
from gateway.web.callers import client_address, identify
from gateway.web.page_frame import FromVisit, Page
from gateway.web.portal_page import find_act

_NOTICES = {"ended": "The key you were signed in with is revoked, so you are signed out."}
_UNAUTHORIZED = 401
_FORBIDDEN = 403


@get("/sign-in")
async def show_sign_in(visit: FromVisit, done: str = "", act: str = "") -> Page:
    """The form. It goes on to the act in Stripe's portal that is named, if there is such an act."""
    return visit.page("sign_in.html", problem=None, notice=_NOTICES.get(done), act=find_act(act))


@post("/sign-in")
async def sign_in(visit: FromVisit) -> Page:
    """Sign in. A wrong key is not told from a revoked one; a right one that is used from elsewhere is."""
    form = await visit.form()
    presented, act = form.get("key", "").strip(), find_act(form.get("act", ""))
    try:
        address = client_address(visit.request, visit.runtime)
        account, key = await identify(visit.runtime, presented.encode(), address)
    except AddressNotAllowed as error:
        return visit.page("sign_in.html", status=_FORBIDDEN, problem=str(error), notice=None, act=act)
    except InvalidKey:
        problem = "This is not a live API key of this service. Check that all of it was copied."
        return visit.page("sign_in.html", status=_UNAUTHORIZED, problem=problem, notice=None, act=act)
    onward = "/account" if act is None else f"/account/portal/{act}"
    return visit.see(onward, cookies=[visit.session_cookie(account.customer_id, key.key_id)])


@post("/sign-out")
async def sign_out(visit: FromVisit) -> Page:
    """Sign out in this browser."""
    return visit.see("/pricing", cookies=[visit.no_session_cookie()])
