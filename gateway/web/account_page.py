"""The customer's own page: tier, plan, usage against limits, keys, and the way to the billing portal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from litestar import get, post
from litestar.datastructures import Cookie
from litestar.params import FromPath

from gateway.core.access_value import Access
from gateway.core.account import Account
from gateway.core.errors import LedgerUnavailable
from gateway.core.key_order import KeyOrder
from gateway.core.limits import Quota
from gateway.core.policy import Policy
from gateway.core.tier_grant import grant_state
from gateway.ledger import DAY_S, KeyRow
from gateway.provisioning import IssuedKey
from gateway.usage import LimitUsage, Usage, read_usage
from gateway.web.account_notes import account_note
from gateway.web.account_plan import extras_to_change, plan_choices, planned_change, seats_had
from gateway.web.extras_form import add_on_words
from gateway.web.look_back_turns import TooManyLooksBack, look_back, take_look_back_turn
from gateway.web.page_frame import FromVisit, Page, SignedIn, Visit
from gateway.web.page_words import (
    STANDING_WORDS,
    Moment,
    group_words,
    limit_sentence,
    moment,
    unit_words,
    window_words,
)
from gateway.web.record_turns import take_record_turn
from gateway.web.spend_cap_page import overage_rows

OVERLAP_S = 86_400
"""How long a rotated key goes on working."""

_CHANGING = "The plan is changed. The new limits apply within seconds; load this page again to see them."
_NOTICES = {
    "revoked": "The key is revoked. Calls with it are refused from now on.",
    "changed": "The plan is changed. The new limits apply from now on.",
    "adjusted": "Seats and add-ons are changed. The new limits apply from now on.",
    "same": "Nothing was changed: that is what you have.",
    "changing": _CHANGING,
    "planned": "The change is planned. Until then everything stays as it is.",
    "kept": "The plan stays as it is.",
    "pending": "The change waits for a payment. Until it is made, the old plan stays.",
    "confirmed": "No payment waits to be confirmed.",
    "payment_method_update": "The payment method is changed. What is due is collected with it.",
    "subscription_cancel": "The subscription is cancelled. It goes on until the end of what was paid for.",
    "subscription_update": _CHANGING,
    "subscription_update_confirm": _CHANGING,
    "current": "This is your plan already.",
    "capped": "The spend cap is set. It holds from now on.",
    "uncapped": "Your spend cap is removed. What the plan allows holds from now on.",
}
_DAYS = 14
_MOST_DAY_LINES = 200
_NEARLY = 0.8
"""The share of a quota from which a page says that it is nearly used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaRow:
    """One quota and how much of it is used."""

    label: str
    used: int
    limit: int
    left: int
    is_nearly_used: bool
    runs_out: Moment | None
    """When it is used up if it goes on so; None: not before the window ends, or it is already."""
    resets: Moment | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayLine:
    """What one meter counted on one day (UTC)."""

    day: Moment | None
    requests: int
    denied: int
    units: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLine:
    """One live key, for its owner."""

    key_id: str
    name: str
    last4: str
    is_current: bool
    restrictions: tuple[str, ...]
    """Its scopes, limits of its own and addresses, in words."""
    created: Moment | None
    last_used: Moment | None
    expires: Moment | None
    is_replaced: bool
    """It has a successor and works until it expires; it cannot be rotated again."""


@get("/account")
async def show_account(visit: FromVisit, done: str = "") -> Page:
    """The account; without a session, the sign-in page."""
    if visit.signed_in is None:
        return visit.see("/sign-in", cookies=[visit.no_session_cookie()])
    await take_look_back_turn(visit.runtime, visit.signed_in.customer_id)
    return await _account_page(visit, visit.signed_in, notice=_NOTICES.get(done))


@post("/account/keys")
async def create_key(visit: FromVisit) -> Page:
    """A new key, shown in the answer and never again."""
    who = visit.require_signed_in()
    who.require_manager()
    form = await visit.form()
    await take_record_turn(visit.runtime, who.customer_id)
    order = KeyOrder(name=form.get("name", ""), allow=tuple(form.get("allow_ips", "").replace(",", " ").split()))
    issued = await visit.runtime.provisioning.issue(who.customer_id, order, actor=who.actor, issuer=who.key)
    return await _account_page(visit, who, issued=issued)


@post("/account/keys/{key_id:str}/rotate")
async def rotate_key(visit: FromVisit, key_id: FromPath[str]) -> Page:
    """A successor, shown in the answer and never again; the old key works for one more day."""
    who = visit.require_signed_in()
    who.require_manager()
    await take_record_turn(visit.runtime, who.customer_id)
    issued = await visit.runtime.provisioning.rotate(
        who.customer_id, key_id, overlap_s=OVERLAP_S, actor=who.actor, issuer=who.key
    )
    cookies = [visit.session_cookie(who.customer_id, issued.record.key_id)] if key_id == who.key.key_id else []
    return await _account_page(visit, who, issued=issued, cookies=cookies)


@post("/account/keys/{key_id:str}/revoke")
async def revoke_key(visit: FromVisit, key_id: FromPath[str]) -> Page:
    """End a key now. Ending the one that is signed in with ends the session too."""
    who = visit.require_signed_in()
    who.require_manager()
    await visit.runtime.provisioning.revoke(who.customer_id, key_id, actor=who.actor, because="revoked by the customer")
    if key_id == who.key.key_id:
        return visit.see("/sign-in?done=ended", cookies=[visit.no_session_cookie()])
    return visit.see("/account?done=revoked")


async def _account_page(
    visit: Visit,
    who: SignedIn,
    *,
    notice: str | None = None,
    issued: IssuedKey | None = None,
    cookies: Sequence[Cookie] = (),
) -> Page:
    runtime = visit.runtime
    policy, account = runtime.policy.current, who.account
    usage = await read_usage(account, policy=policy, cache=runtime.cache, ledger=runtime.ledger, clock=runtime.clock)
    row = await runtime.ledger.find_customer(who.customer_id)
    rows = await runtime.provisioning.list(who.customer_id)
    access, subscription = usage.access, account.subscription
    return visit.page(
        "account.html",
        cookies=cookies,
        notice=notice,
        new_key=issued,
        note=account_note(account, access, policy),
        tier=access.tier.title if access.tier is not None else None,
        plan=plan.title if (plan := policy.find_plan(access.plan_id)) is not None else None,
        standing=STANDING_WORDS[access.standing],
        granted_until=_granted_until(account, access, policy, runtime.clock.now()),
        paces=_paces(access, policy),
        kept_until=moment(access.grace_until),
        period_ends=moment(subscription.period_ends_at) if subscription is not None and access.plan_id else None,
        cancels=moment(subscription.cancel_at) if subscription is not None and access.plan_id else None,
        scheduled=planned_change(subscription, policy, runtime.clock.now()),
        has_billing=row is not None and row.stripe_customer_id is not None,
        is_subscribed=access.plan_id is not None,
        choices=await plan_choices(visit, policy, access),
        seats=seats_had(access, subscription, policy),
        add_ons=add_on_words(subscription.add_ons, policy) if subscription is not None and access.plan_id else [],
        extras=await extras_to_change(visit, policy, access, subscription),
        quotas=_quotas(usage, account, policy),
        overages=overage_rows(usage, account, policy),
        usage_is_late=usage.source == "ledger",
        days=await _days(visit, who, policy),
        keys=[_key_line(row, who, policy) for row in rows if _is_live(row, runtime.clock.now())],
        may_manage=who.may_manage,
    )


def _granted_until(account: Account, access: Access, policy: Policy, now: float) -> Moment | None:
    """Until when the tier is one that the seller granted by hand; None: it is not."""
    grant = account.tier_grant
    if grant is None or grant_state(grant, access, policy, now) != "in-force":
        return None
    return moment(grant.ends_at)


def _paces(access: Access, policy: Policy) -> list[str]:
    if access.tier is None:
        return []
    return [limit_sentence(limit, policy.meters) for limit in access.tier.limits if not isinstance(limit, Quota)]


def _quotas(usage: Usage, account: Account, policy: Policy) -> list[QuotaRow]:
    names = {key.key_id: key.name for key in account.keys.values()}
    return [_quota_row(limit, names, policy) for limit in usage.limits if limit.kind == "quota"]


def _quota_row(limit: LimitUsage, names: dict[str, str], policy: Policy) -> QuotaRow:
    label = f"{unit_words(limit.meter, policy.meters)} per {window_words(limit.words)}{group_words(limit.group)}"
    label = label[:1].upper() + label[1:]
    if limit.key_id is not None:
        label = f"{label}, key {names.get(limit.key_id, limit.key_id)!r}"
    used = limit.used or 0
    return QuotaRow(
        label=label,
        used=used,
        limit=limit.limit,
        left=limit.remaining or 0,
        is_nearly_used=used >= limit.limit * _NEARLY,
        runs_out=moment(limit.exhausts_at) if limit.remaining else None,
        resets=moment(limit.window_ends_at),
    )


async def _days(visit: Visit, who: SignedIn, policy: Policy) -> list[DayLine] | None:
    """The last two weeks, newest first. None: not now; a page that shows a new key must not fail for it."""
    runtime = visit.runtime
    to_at = int(runtime.clock.now()) // DAY_S * DAY_S + DAY_S
    try:
        lines = await look_back(
            runtime, who.customer_id, from_at=to_at - _DAYS * DAY_S, to_at=to_at, by="day", limit=_MOST_DAY_LINES
        )
    except (TooManyLooksBack, LedgerUnavailable):
        return None
    return [
        DayLine(
            day=moment(line.starts_at),
            requests=line.requests,
            denied=line.denied,
            units=f"{line.units:,} {unit_words(line.meter, policy.meters)}",
        )
        for line in reversed(lines)
    ]


def _key_line(row: KeyRow, who: SignedIn, policy: Policy) -> KeyLine:
    record = row.record
    return KeyLine(
        key_id=record.key_id,
        name=record.name,
        last4=record.last4,
        is_current=record.key_id == who.key.key_id,
        restrictions=(
            *(f"only {scope}" for scope in record.scopes),
            *(f"at most {limit_sentence(limit, policy.meters)}" for limit in record.limits),
            *([f"only from {', '.join(record.allow)}"] if record.allow else []),
        ),
        created=moment(record.created_at),
        last_used=moment(row.last_used_at),
        expires=moment(record.expires_at),
        is_replaced=row.replaced_by is not None,
    )


def _is_live(row: KeyRow, now: float) -> bool:
    return row.record.expires_at is None or now < row.record.expires_at
