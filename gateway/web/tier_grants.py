"""A tier by hand, for the seller: grant it until an end, take it back. The customer sees it in its subscription."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import delete, post
from litestar.params import FromPath, JSONBody

from gateway.granting import TierOrder
from gateway.web.api_keys import Instant
from gateway.web.callers import FromRuntime, find_row
from gateway.web.problem_shape import problems

_ACTOR = "admin"


class TierGrantRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which tier, until when. It replaces what was granted before; the same again changes nothing."""

    tier: str
    ends_at: Instant
    """Unix seconds."""
    because: Annotated[str, msgspec.Meta(pattern=r"\S", max_length=500)]
    """For whoever reads the audit log."""


class TierGrantAnswer(msgspec.Struct, kw_only=True):
    """A tier by hand. `in_force` false: the cache is away, so nobody is let in until it knows."""

    customer_id: str
    tier: str
    granted_at: int
    ends_at: int
    is_new: bool
    """False: it was granted to the same end before."""
    in_force: bool


class TierTakenBack(msgspec.Struct, kw_only=True):
    """The customer has what its subscription grants."""

    customer_id: str
    in_force: bool
    taken_back: bool = True


@post(
    "/customers/{customer_id:str}/tier-grant",
    status_code=200,
    responses=problems(400, 401, 403, 404, 409),
    summary="Grant a tier by hand",
)
async def grant_tier(
    customer_id: FromPath[str], data: JSONBody[TierGrantRequest], runtime: FromRuntime
) -> TierGrantAnswer:
    """Give a customer a tier until an end, whatever Stripe says, unless its subscription grants a higher one."""
    await find_row(runtime, customer_id=customer_id)
    order = TierOrder(tier=data.tier, ends_at=data.ends_at, reason=data.because)
    granted = await runtime.granting.grant(customer_id, order, runtime.policy.current, actor=_ACTOR)
    grant = granted.row.grant
    return TierGrantAnswer(
        customer_id=customer_id,
        tier=grant.tier,
        granted_at=grant.granted_at,
        ends_at=grant.ends_at,
        is_new=granted.is_new,
        in_force=granted.in_force,
    )


@delete(
    "/customers/{customer_id:str}/tier-grant",
    status_code=200,
    responses=problems(400, 401, 403, 404, 409),
    summary="Take a granted tier back",
)
async def take_tier_back(customer_id: FromPath[str], runtime: FromRuntime) -> TierTakenBack:
    """End a grant now; from its next call on the customer has what its subscription grants."""
    await find_row(runtime, customer_id=customer_id)
    in_force = await runtime.granting.take_back(
        customer_id, runtime.policy.current, actor=_ACTOR, because="taken back through the admin API"
    )
    return TierTakenBack(customer_id=customer_id, in_force=in_force)


HANDLERS = (grant_tier, take_tier_back)
