"""How much a customer's overage may cost in a billing period, under the billing prefix: shown, set, removed."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import delete, get, put
from litestar.params import FromQuery, JSONBody

from gateway.capping import CapOrder, CapState
from gateway.core.account import Account
from gateway.core.money import MOST_MONEY
from gateway.web.callers import Caller, FromCaller, FromRuntime, load_named
from gateway.web.problem_shape import problems
from gateway.web.record_turns import take_record_turn_of
from gateway.web.runtime import Runtime

_BECAUSE = "asked for through the billing API"


class SpendCapOrder(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The most that overage may cost in a billing period, in the smallest unit of the price's currency.

    0: no overage. `meter` is needed where there is overage of several; `currency`, if said, must be the price's.
    """

    amount: Annotated[int, msgspec.Meta(ge=0, le=MOST_MONEY)]
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Za-z]{3}$")] | None = None
    meter: str | None = None
    user_id: str | None = None
    customer_id: str | None = None


class SpendCapView(msgspec.Struct, kw_only=True):
    """The spend cap on the overage of one meter. Amounts are in the currency's smallest unit."""

    meter: str
    amount: int | None
    """In force; null: none, so only the plan's cap holds."""
    amount_text: str | None
    currency: str | None
    """The price's; null: it cannot be read, or is not bought yet; then the only cap that can be set is 0."""
    set_by: str | None
    """`customer`, or `policy` for whoever set none; null: nobody."""
    units: int
    """What may be used beyond what is included, by the lowest of all caps; 0 as long as nothing is billed."""
    bound: str
    """Whose cap that is: `spend-cap`, `policy`, or `none`."""
    words: str


class SpendCaps(msgspec.Struct, kw_only=True):
    """Of each overage that a customer has, or whose plan has it; none if its quotas cannot be exceeded."""

    customer_id: str
    spend_caps: list[SpendCapView]


@get("/spend-cap", responses=problems(400, 401, 403, 404), summary="Show spend caps", tags=["billing"])
async def show_spend_caps(
    runtime: FromRuntime,
    caller: FromCaller,
    user_id: FromQuery[str | None] = None,
    customer_id: FromQuery[str | None] = None,
) -> SpendCaps:
    """What caps the cost of a customer's overage."""
    return _view(runtime, await load_named(runtime, caller, user_id, customer_id))


@put("/spend-cap", responses=problems(400, 401, 403, 404, 409, 429), summary="Set a spend cap", tags=["billing"])
async def set_spend_cap(data: JSONBody[SpendCapOrder], runtime: FromRuntime, caller: FromCaller) -> SpendCaps:
    """Set the most that overage may cost in a billing period. It holds from the next call on."""
    account = await _managed(runtime, caller, data.user_id, data.customer_id)
    order = CapOrder(amount=data.amount, meter=data.meter, currency=data.currency)
    await runtime.capping.set(account, runtime.policy.current, order, actor=caller.actor, because=_BECAUSE)
    return _view(runtime, await _reloaded(runtime, account))


@delete(
    "/spend-cap",
    status_code=200,
    responses=problems(400, 401, 403, 404, 409, 429),
    summary="Remove a spend cap",
    tags=["billing"],
)
async def drop_spend_cap(
    runtime: FromRuntime,
    caller: FromCaller,
    meter: FromQuery[str | None] = None,
    user_id: FromQuery[str | None] = None,
    customer_id: FromQuery[str | None] = None,
) -> SpendCaps:
    """Remove the customer's own cap, so that the plan's hold. It holds from the next call on."""
    account = await _managed(runtime, caller, user_id, customer_id)
    await runtime.capping.drop(account, runtime.policy.current, meter, actor=caller.actor, because=_BECAUSE)
    return _view(runtime, await _reloaded(runtime, account))


async def _managed(runtime: Runtime, caller: Caller, user_id: str | None, customer_id: str | None) -> Account:
    caller.require_manager()
    account = await load_named(runtime, caller, user_id, customer_id)
    await take_record_turn_of(caller, runtime)
    return account


async def _reloaded(runtime: Runtime, account: Account) -> Account:
    return await runtime.ledger.load_account(account.customer_id) or account


def _view(runtime: Runtime, account: Account) -> SpendCaps:
    states = runtime.capping.list(account, runtime.policy.current)
    return SpendCaps(customer_id=account.customer_id, spend_caps=[_view_one(state) for state in states])


def _view_one(state: CapState) -> SpendCapView:
    by_policy = None if state.default is None else "policy"
    return SpendCapView(
        meter=state.meter,
        amount=state.amount,
        amount_text=state.amount_text,
        currency=state.currency,
        set_by=by_policy if state.own is None else "customer",
        units=state.units,
        bound=state.bound,
        words=state.words,
    )


HANDLERS = (show_spend_caps, set_spend_cap, drop_spend_cap)
