"""Back from the checkout: the first key, once, for the browser that began it (`gateway.claiming`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog
from litestar import get, post

from gateway.claiming import REPLACE_WITHIN_S, FirstKeys, NotReplaceable
from gateway.core.access import decide_access
from gateway.core.errors import LedgerUnavailable
from gateway.core.policy import Policy
from gateway.ledger import CheckoutRow
from gateway.provisioning import IssuedKey
from gateway.web.account_notes import account_note
from gateway.web.callers import client_address
from gateway.web.claim_cookie import KEPT_DAYS, claim_secret, old_claims
from gateway.web.page_frame import FromVisit, Page, Visit
from gateway.web.problem_table import TABLE
from gateway.web.stripe_turns import may_arrive

log = structlog.get_logger(__name__)

_FORBIDDEN = 403
_ASK_AGAIN_S = "4"
_WILD = ("*", "{")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bought:
    """What somebody has who has paid."""

    tier: str | None = None
    """Its title; None: calls are refused."""
    is_active: bool = False
    """The plan grants it. Else it was paid for and is not had, or not recorded yet."""
    trouble: str | None = None
    """What is the matter and what to do, as the account page says it."""


@get("/success")
async def show_success(visit: FromVisit, session_id: str = "") -> Page:
    """What became of a checkout: a key, thanks, or a page that waits for the payment."""
    try:
        page = await _outcome(visit, session_id)
    except LedgerUnavailable as error:
        page = _not_known_yet(visit, session_id, error)
    page.cookies += old_claims(visit.request.cookies, is_secure=visit.is_secure)
    return page


async def _outcome(visit: Visit, session_id: str) -> Page:
    keys = first_keys(visit)
    checkout = await visit.runtime.ledger.find_checkout(session_id)
    is_mine = checkout is not None and is_claimant(visit, keys, checkout)
    if checkout is None or not (is_mine or checkout.claim_digest is None or _is_owner(visit, checkout)):
        return _not_yours(visit)
    was_shown = is_mine and checkout.claimed_at is not None
    if not was_shown and not await may_ask(visit, checkout):
        return _state(visit, "waiting", checkout)
    if not is_mine:
        arrival = await visit.runtime.arrivals.arrive(checkout)
        return await _subscribed(visit, checkout) if arrival == "paid" else _state(visit, arrival, checkout)
    claim = await keys.claim(checkout)
    if claim.issued is not None:
        return await _show_key(visit, checkout, claim.issued)
    return _state(visit, claim.state, checkout)


@post("/success/replace")
async def replace_key(visit: FromVisit) -> Page:
    """The key was shown and not copied: end it and show another, in the same browser."""
    session_id = (await visit.form()).get("session_id", "")
    keys = first_keys(visit)
    checkout = await visit.runtime.ledger.find_checkout(session_id)
    if checkout is None or not is_claimant(visit, keys, checkout):
        return _not_yours(visit)
    try:
        issued = await keys.replace(checkout)
    except NotReplaceable as refusal:
        return _state(visit, "claimed", checkout, status=_FORBIDDEN, problem=str(refusal), may_replace=False)
    return await _show_key(visit, checkout, issued)


async def _show_key(visit: Visit, checkout: CheckoutRow, issued: IssuedKey) -> Page:
    """The one display of a key. It also signs the browser in, which has just shown who it is."""
    runtime = visit.runtime
    bought = await _bought(visit, checkout)
    return visit.page(
        "key.html",
        cookies=[visit.session_cookie(checkout.customer_id, issued.record.key_id)],
        signs_in=True,
        key=issued.minted.text,
        tier=bought.tier,
        trouble=bought.trouble,
        example_url=runtime.settings.base_url + example_path(runtime.policy.current),
    )


async def _subscribed(visit: Visit, checkout: CheckoutRow) -> Page:
    """Thanks, and whether what was paid for is had: a customer may be blocked, or suspended for a dispute."""
    bought = await _bought(visit, checkout)
    return _state(visit, "subscribed", checkout, is_active=bought.is_active, trouble=bought.trouble)


async def _bought(visit: Visit, checkout: CheckoutRow) -> _Bought:
    runtime = visit.runtime
    account = await runtime.ledger.load_account(checkout.customer_id)
    if account is None:
        return _Bought()
    policy = runtime.policy.current
    access = decide_access(account, policy, runtime.clock.now())
    note = account_note(account, access, policy)
    return _Bought(
        tier=None if access.tier is None else access.tier.title,
        is_active=access.plan_id is not None,
        trouble=None if note is None or not note.is_urgent else note.text,
    )


def example_path(policy: Policy) -> str:
    """A path to try a key on: the cheapest route that is open to every tier and has no wildcard; or the root."""
    plain = [
        route
        for route in policy.routes
        if route.requires is None
        and (route.methods is None or "GET" in route.methods)
        and not any(segment.startswith(_WILD) for segment in route.segments)
    ]
    cheapest = min(plain, key=lambda route: sum(units for _, units in route.cost), default=None)
    return "/" if cheapest is None else "/" + "/".join(cheapest.segments)


def _state(visit: Visit, state: str, checkout: CheckoutRow, *, status: int = 200, **values: Any) -> Page:
    claimed_at = checkout.claimed_at
    shown = {
        "problem": None,
        "session_id": checkout.session_id,
        "kept_days": KEPT_DAYS,
        "may_replace": claimed_at is None or visit.runtime.clock.now() <= claimed_at + REPLACE_WITHIN_S,
        **values,
    }
    return visit.page(
        "success.html", status=status, refresh=_ASK_AGAIN_S if state == "waiting" else "", state=state, **shown
    )


def _not_yours(visit: Visit) -> Page:
    """One answer for a checkout that is somebody else's and for one that never was."""
    return visit.page(
        "success.html", status=_FORBIDDEN, state="foreign", problem=None, session_id="", may_replace=False
    )


def _not_known_yet(visit: Visit, session_id: str, error: LedgerUnavailable) -> Page:
    """For somebody who may have paid a moment ago, and must not read that it failed."""
    log.warning("what became of a checkout cannot be shown yet", session_id=session_id, reason=str(error))
    return visit.page(
        "success.html",
        status=TABLE[error.code].status,
        refresh=_ASK_AGAIN_S,
        state="busy",
        problem=None,
        session_id=session_id,
        kept_days=KEPT_DAYS,
        may_replace=False,
    )


def is_claimant(visit: Visit, keys: FirstKeys, checkout: CheckoutRow) -> bool:
    """Whether the browser proves that it began the checkout."""
    return keys.may_claim(checkout, claim_secret(visit.request.cookies, checkout.session_id))


async def may_ask(visit: Visit, checkout: CheckoutRow) -> bool:
    """Whether it is known what became of a checkout, or Stripe may be asked now. If not, the page waits a little."""
    runtime = visit.runtime
    if runtime.arrivals.find(checkout.session_id) is not None:
        return True
    return await may_arrive(runtime, checkout.customer_id, client_address(visit.request, runtime))


def _is_owner(visit: Visit, checkout: CheckoutRow) -> bool:
    return visit.signed_in is not None and visit.signed_in.customer_id == checkout.customer_id


def first_keys(visit: Visit) -> FirstKeys:
    """The use case, for a visit."""
    runtime = visit.runtime
    return FirstKeys(
        arrivals=runtime.arrivals,
        provisioning=runtime.provisioning,
        codec=runtime.codec,
        clock=runtime.clock,
    )
