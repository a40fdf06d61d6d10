"""Overage on the account page: how far the plan is exceeded, what it costs, and the form that caps it."""

from __future__ import annotations

from dataclasses import dataclass

from litestar import post

from gateway.capping import ANY_CURRENCY, CapOrder, SpendCapInvalid, find_state, list_caps
from gateway.core.account import Account
from gateway.core.money import MoneyInvalid, minor_digits, money_text, parse_amount
from gateway.core.policy import Policy
from gateway.usage import Usage
from gateway.web.page_frame import FromVisit, Page
from gateway.web.page_words import Moment, moment, unit_words
from gateway.web.record_turns import take_record_turn

_BECAUSE = "set on the account page"


@dataclass(frozen=True, slots=True, kw_only=True)
class OverageRow:
    """One quota that may be exceeded."""

    meter: str
    label: str
    used: int
    allowed: int
    left: int
    words: str
    """Whose cap that is."""
    cost: str | None
    """What it costs so far, at most; None: the price cannot be read."""
    cap: str | None
    """The spend cap in force, as the form shows it: `50.00`."""
    is_own: bool
    """The customer set it."""
    currency: str
    resets: Moment | None


def overage_rows(usage: Usage, account: Account, policy: Policy) -> list[OverageRow]:
    """Of every quota that may be exceeded now."""
    caps = {state.meter: state for state in list_caps(account, policy, usage.as_of)}
    rows = []
    for one in usage.overages:
        state, currency = caps[one.meter], one.currency or ""
        cap = None if state.amount is None or state.currency is None else _plain(state.amount, state.currency)
        rows.append(
            OverageRow(
                meter=one.meter,
                label=f"{unit_words(one.meter, policy.meters).capitalize()} beyond the plan",
                used=one.used,
                allowed=one.allowed,
                left=one.left,
                words=one.words,
                cost=None if one.cost is None else money_text(one.cost, currency),
                cap=cap,
                is_own=state.own is not None,
                currency=currency.upper(),
                resets=moment(one.window_ends_at),
            )
        )
    return rows


@post("/account/spend-cap")
async def set_cap(visit: FromVisit) -> Page:
    """Set the most that overage may cost in a billing period; nothing written removes it."""
    who = visit.require_signed_in()
    who.require_manager()
    form = await visit.form()
    await take_record_turn(visit.runtime, who.customer_id)
    runtime, meter, text = visit.runtime, form.get("meter") or None, form.get("amount", "").strip()
    policy, capping = runtime.policy.current, runtime.capping
    if not text:
        await capping.drop(who.account, policy, meter, actor=who.actor, because=_BECAUSE)
        return visit.see("/account?done=uncapped")
    state = find_state(capping.list(who.account, policy), meter)
    try:
        order = CapOrder(amount=parse_amount(text, state.currency or ANY_CURRENCY), meter=meter)
    except MoneyInvalid as error:
        raise SpendCapInvalid(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
    await capping.set(who.account, policy, order, actor=who.actor, because=_BECAUSE)
    return visit.see("/account?done=capped")


def _plain(amount: int, currency: str) -> str:
    digits = minor_digits(currency)
    return money_text(amount, currency).split(" ", 1)[0] if digits else str(amount)
