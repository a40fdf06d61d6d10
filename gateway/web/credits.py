"""Credits of a customer, for the seller: grant, list, revoke. The customer sees its own with its usage."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from gateway.core.limit_text import REQUESTS
from gateway.crediting import LONGEST_REFERENCE, CreditOrder
from gateway.ledger import GrantRow
from gateway.web.api_keys import LOCATION, Instant
from gateway.web.callers import FromRuntime, find_row
from gateway.web.problem_shape import problems
from gateway.web.reserved import OPERATIONS

_ACTOR = "admin"
_MOST_UNITS = 2**53 - 1


class CreditRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What shall be granted.

    With a `reference`, asking again is answered with the same grant; without one, it grants again. Without
    `expires_at`, credits last as policy says; with `never_expires`, for ever.
    """

    units: Annotated[int, msgspec.Meta(ge=1, le=_MOST_UNITS)]
    reference: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_REFERENCE)] | None = None
    meter: str = REQUESTS
    expires_at: Instant | None = None
    never_expires: bool = False
    reason: Annotated[str, msgspec.Meta(max_length=500)] = "not said"


class GrantView(msgspec.Struct, kw_only=True):
    """A grant of credits. Instants are Unix seconds."""

    grant_id: str
    customer_id: str
    reference: str
    meter: str
    units: int
    used: int
    """As of the last settlement, seconds ago."""
    granted_at: int
    expires_at: int | None
    """Null: never."""
    reason: str
    ended: str | None
    """Why none of it can be spent any more: `spent`, `revoked` or `expired`. Null: some can, until it expires."""
    ended_at: int | None


class GrantList(msgspec.Struct, kw_only=True):
    """Oldest first."""

    customer_id: str
    credits: list[GrantView]


class GrantRevoked(msgspec.Struct, kw_only=True):
    """What was left is gone. `in_force` false: the cache is away, so nobody is let in until it knows."""

    grant_id: str
    in_force: bool
    revoked: bool = True


@get(
    "/customers/{customer_id:str}/credits",
    responses=problems(400, 401, 403, 404, 409),
    summary="List a customer's credits",
)
async def list_credits(
    customer_id: FromPath[str],
    runtime: FromRuntime,
    include_ended: FromQuery[bool] = False,  # noqa: FBT002 - a query parameter
) -> GrantList:
    """The customer's credits, oldest first; with `include_ended` those too that are used up, revoked or expired."""
    await find_row(runtime, customer_id=customer_id)
    rows = await runtime.crediting.list(customer_id, include_ended=include_ended)
    return GrantList(customer_id=customer_id, credits=[_view(row) for row in rows])


@post(
    "/customers/{customer_id:str}/credits",
    status_code=201,
    responses=problems(400, 401, 403, 404, 409),
    response_headers=[LOCATION],
    summary="Grant credits",
)
async def grant_credits(
    customer_id: FromPath[str], data: JSONBody[CreditRequest], runtime: FromRuntime
) -> Response[GrantView]:
    """Units for what the quota cannot cover, from the customer's next call on. Under one reference, once."""
    await find_row(runtime, customer_id=customer_id)
    order = CreditOrder(
        units=data.units,
        reference=data.reference,
        meter=data.meter,
        expires_at=data.expires_at,
        never_expires=data.never_expires,
        reason=data.reason,
    )
    granted = await runtime.crediting.grant(customer_id, order, runtime.policy.current, actor=_ACTOR)
    location = f"{OPERATIONS}/admin/customers/{customer_id}/credits/{granted.row.grant.grant_id}"
    return Response(_view(granted.row), headers={"location": location})


@delete(
    "/customers/{customer_id:str}/credits/{grant_id:str}",
    status_code=200,
    responses=problems(400, 401, 403, 404, 409),
    summary="Revoke credits",
)
async def revoke_credits(customer_id: FromPath[str], grant_id: FromPath[str], runtime: FromRuntime) -> GrantRevoked:
    """Take back what is left of a grant; what was spent of it stays spent."""
    await find_row(runtime, customer_id=customer_id)
    in_force = await runtime.crediting.revoke(
        customer_id, grant_id, actor=_ACTOR, because="revoked through the admin API"
    )
    return GrantRevoked(grant_id=grant_id, in_force=in_force)


def _view(row: GrantRow) -> GrantView:
    grant = row.grant
    return GrantView(
        grant_id=grant.grant_id,
        customer_id=row.customer_id,
        reference=row.reference,
        meter=grant.meter,
        units=grant.units,
        used=row.used,
        granted_at=grant.granted_at,
        expires_at=grant.expires_at,
        reason=row.reason,
        ended=row.ended,
        ended_at=row.ended_at,
    )


HANDLERS = (list_credits, grant_credits, revoke_credits)
