"""API keys of a customer: list, issue, rotate, revoke. A key's text is in one answer only, its first."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from litestar import Response, delete, get, post
from litestar.datastructures import ResponseHeader
from litestar.params import FromPath, FromQuery, JSONBody

from gateway.core.account import LAST_INSTANT, KeyRecord
from gateway.core.key_order import KeyOrder
from gateway.core.key_place import key_place, parse_key_place
from gateway.core.limit_text import LimitInvalid, limit_words, parse_key_limit
from gateway.core.limits import Limit as KeyLimit
from gateway.ledger import KeyRow
from gateway.provisioning import IssuedKey
from gateway.web.callers import FromCaller, FromRuntime, find_named
from gateway.web.paging import KeyPlace, Limit
from gateway.web.problem_shape import problems
from gateway.web.record_turns import take_record_turn_of
from gateway.web.refusals import RequestInvalid
from gateway.web.runtime import Runtime

DEFAULT_OVERLAP_S = 86_400
MAX_OVERLAP_S = 30 * 86_400


LOCATION = ResponseHeader(name="location", description="The new resource.", documentation_only=True)
"""What answers with 201 says where what it made can be named."""

Instant: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=LAST_INSTANT)]


class KeyRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a new key shall be.

    `scopes` like `GET /v1/**`: empty for everything the tier allows. `limits` like
    `100 per day`: smaller limits of the key's own, besides the customer's. `allow_ips` like
    `203.0.113.7` or `203.0.113.0/24`: where it may be used from; empty for everywhere. A key
    that asks for another passes on its own end and addresses, unless narrower ones are asked for.
    """

    name: str = "default"
    scopes: list[str] = []
    limits: list[str] = []
    allow_ips: list[str] = []
    expires_at: Instant | None = None
    """Unix seconds, up to the year 9999; null: it lasts until it is revoked, or as long as the key that asks."""
    user_id: str | None = None
    customer_id: str | None = None


class Rotation(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How long the old key works beside its successor."""

    overlap_s: Annotated[int, msgspec.Meta(ge=0, le=MAX_OVERLAP_S)] = DEFAULT_OVERLAP_S
    user_id: str | None = None
    customer_id: str | None = None


class KeyView(msgspec.Struct, kw_only=True):
    """A key as its owner sees it afterwards. Instants are Unix seconds."""

    key_id: str
    name: str
    mode: str
    last4: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    """To the minute or so: it is written with the settlements."""
    revoked_at: int | None
    replaced_by: str | None
    """Key id of its successor, if it was rotated; it works until `expires_at` and is not rotated again."""
    scopes: list[str]
    limits: list[str]
    allow_ips: list[str]


class KeyList(msgspec.Struct, kw_only=True):
    """Oldest first. `next_after` is null on the last page."""

    customer_id: str
    keys: list[KeyView]
    next_after: str | None


class NewKey(msgspec.Struct, kw_only=True):
    """`key` is shown here and never again: only its digest is kept."""

    customer_id: str
    key_id: str
    key: str
    name: str
    last4: str
    created_at: int
    expires_at: int | None
    scopes: list[str]
    limits: list[str]
    allow_ips: list[str]


class KeyRevoked(msgspec.Struct, kw_only=True):
    """The key is refused from now on. `in_force` false: the cache is away, so nobody is let in until it knows."""

    key_id: str
    in_force: bool
    revoked: bool = True


@get("/api-keys", responses=problems(400, 401, 403, 404, 409), summary="List the keys", tags=["keys"])
async def list_keys(
    runtime: FromRuntime,
    caller: FromCaller,
    user_id: FromQuery[str | None] = None,
    customer_id: FromQuery[str | None] = None,
    *,
    include_revoked: FromQuery[bool] = False,
    limit: Limit = 100,
    after: KeyPlace = None,
) -> KeyList:
    """The customer's keys in pages, without their texts."""
    named = await find_named(runtime, caller, user_id, customer_id)
    return await listed(runtime, named, include_revoked=include_revoked, limit=limit, after=after)


@post(
    "/api-keys",
    status_code=201,
    responses=problems(400, 401, 403, 404, 409, 429),
    response_headers=[LOCATION],
    summary="Issue a key",
    tags=["keys"],
)
async def issue_key(data: JSONBody[KeyRequest], runtime: FromRuntime, caller: FromCaller) -> Response[NewKey]:
    """A new key. All keys of a customer share its limits."""
    caller.require_manager()
    named = await find_named(runtime, caller, data.user_id, data.customer_id)
    await take_record_turn_of(caller, runtime)
    return _created(runtime, await issued(runtime, named, data, actor=caller.actor, issuer=caller.key))


@delete(
    "/api-keys", status_code=200, responses=problems(400, 401, 403, 404, 409), summary="Revoke a key", tags=["keys"]
)
async def revoke_key_by_query(
    key_id: FromQuery[str],
    runtime: FromRuntime,
    caller: FromCaller,
    user_id: FromQuery[str | None] = None,
    customer_id: FromQuery[str | None] = None,
) -> KeyRevoked:
    """End the key `key_id` now; the very next request with it is refused."""
    caller.require_manager()
    named = await find_named(runtime, caller, user_id, customer_id)
    return await revoked(runtime, named, key_id, actor=caller.actor)


@delete(
    "/api-keys/{key_id:str}",
    status_code=200,
    responses=problems(400, 401, 403, 404),
    summary="Revoke a key",
    tags=["keys"],
)
async def revoke_key(
    key_id: FromPath[str],
    runtime: FromRuntime,
    caller: FromCaller,
    user_id: FromQuery[str | None] = None,
    customer_id: FromQuery[str | None] = None,
) -> KeyRevoked:
    """End a key now; the very next request with it is refused."""
    caller.require_manager()
    named = await find_named(runtime, caller, user_id, customer_id)
    return await revoked(runtime, named, key_id, actor=caller.actor)


@post(
    "/api-keys/{key_id:str}/rotate",
    status_code=201,
    responses=problems(400, 401, 403, 404, 409, 429),
    response_headers=[LOCATION],
    summary="Replace a key",
    tags=["keys"],
)
async def rotate_key(
    key_id: FromPath[str], runtime: FromRuntime, caller: FromCaller, data: JSONBody[Rotation | None] = None
) -> Response[NewKey]:
    """A successor that may do the same and lasts as long; the old key ends after the overlap. Once a key."""
    caller.require_manager()
    order = data or Rotation()
    named = await find_named(runtime, caller, order.user_id, order.customer_id)
    await take_record_turn_of(caller, runtime)
    successor = await rotated(runtime, named, key_id, order.overlap_s, actor=caller.actor, issuer=caller.key)
    return _created(runtime, successor)


async def listed(
    runtime: Runtime, customer_id: str, *, include_revoked: bool, limit: int, after: str | None
) -> KeyList:
    """A page of the keys of one customer."""
    behind = None if after is None else parse_key_place(after)
    rows = await runtime.provisioning.list(customer_id, include_revoked=include_revoked, limit=limit, after=behind)
    last = rows[-1].record if len(rows) == limit else None
    next_after = None if last is None else key_place(last.created_at, last.key_id)
    return KeyList(customer_id=customer_id, keys=[_view(row) for row in rows], next_after=next_after)


async def issued(
    runtime: Runtime, customer_id: str, request: KeyRequest, *, actor: str, issuer: KeyRecord | None = None
) -> NewKey:
    """Issue a key as requested.

    Raises:
        RequestInvalid, KeyInvalidRequest: There can be no such key.
        BeyondIssuer: The key that asks could not hold it.
        TooManyKeys: Revoke one first.
    """
    order = KeyOrder(
        name=request.name,
        scopes=tuple(request.scopes),
        limits=_parse_limits(request.limits, runtime),
        limit_texts=tuple(request.limits),
        allow=tuple(request.allow_ips),
        expires_at=request.expires_at,
    )
    return _new_key(customer_id, await runtime.provisioning.issue(customer_id, order, actor=actor, issuer=issuer))


async def rotated(
    runtime: Runtime, customer_id: str, key_id: str, overlap_s: int, *, actor: str, issuer: KeyRecord | None = None
) -> NewKey:
    """Replace a key.

    Raises:
        BeyondIssuer: The key that asks could not hold the successor.
    """
    replaced = await runtime.provisioning.rotate(customer_id, key_id, overlap_s=overlap_s, actor=actor, issuer=issuer)
    return _new_key(customer_id, replaced)


async def revoked(runtime: Runtime, customer_id: str, key_id: str, *, actor: str) -> KeyRevoked:
    """End a key."""
    in_force = await runtime.provisioning.revoke(customer_id, key_id, actor=actor)
    return KeyRevoked(key_id=key_id, in_force=in_force)


def _created(runtime: Runtime, key: NewKey) -> Response[NewKey]:
    return Response(key, headers={"location": f"{runtime.settings.billing_prefix}/api-keys/{key.key_id}"})


def _parse_limits(texts: list[str], runtime: Runtime) -> tuple[KeyLimit, ...]:
    policy = runtime.policy.current
    try:
        return tuple(parse_key_limit(text, policy.meters, policy.route_groups) for text in texts)
    except LimitInvalid as error:
        hint = f"; did you mean {error.suggestion!r}?" if error.suggestion else ""
        raise RequestInvalid(f"limits: {error}{hint}") from None


def _view(row: KeyRow) -> KeyView:
    record = row.record
    return KeyView(
        key_id=record.key_id,
        name=record.name,
        mode=row.mode,
        last4=record.last4,
        created_at=record.created_at,
        expires_at=record.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        replaced_by=row.replaced_by,
        scopes=list(record.scopes),
        limits=list(row.limit_texts),
        allow_ips=list(record.allow),
    )


def _new_key(customer_id: str, key: IssuedKey) -> NewKey:
    record = key.record
    return NewKey(
        customer_id=customer_id,
        key_id=record.key_id,
        key=key.minted.text,
        name=record.name,
        last4=record.last4,
        created_at=record.created_at,
        expires_at=record.expires_at,
        scopes=list(record.scopes),
        limits=[limit_words(limit) for limit in record.limits],
        allow_ips=list(record.allow),
    )


HANDLERS = (list_keys, issue_key, revoke_key_by_query, revoke_key, rotate_key)
