"""The seller's own routes: customers, what they have, Stripe's events, the audit log. Admin token only."""

from __future__ import annotations

from litestar import Response, Router, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from gateway.core.user_id import check_user_id
from gateway.ledger import CustomerRow
from gateway.web.admin_audit import HANDLERS as AUDIT_HANDLERS
from gateway.web.admin_audit import CustomerId
from gateway.web.admin_bodies import (
    Blocked,
    CustomerDetail,
    CustomerOrder,
    CustomerPage,
    CustomerView,
    Reason,
    Synced,
)
from gateway.web.admin_events import HANDLERS as EVENT_HANDLERS
from gateway.web.admin_reconciliation import HANDLERS as RECONCILIATION_HANDLERS
from gateway.web.api_keys import (
    LOCATION,
    KeyList,
    KeyRequest,
    KeyRevoked,
    NewKey,
    Rotation,
    issued,
    listed,
    revoked,
    rotated,
)
from gateway.web.billing_bodies import SubscriptionView
from gateway.web.billing_gate import needs_billing
from gateway.web.billing_routes import view_subscription
from gateway.web.callers import FromRuntime, find_row, require_admin
from gateway.web.credentials import WITH_TOKEN
from gateway.web.credits import HANDLERS as CREDIT_HANDLERS
from gateway.web.paging import KeyPlace, Limit
from gateway.web.problem_shape import problems
from gateway.web.refusals import CustomerNotFound
from gateway.web.reserved import OPERATIONS
from gateway.web.tier_grants import HANDLERS as TIER_GRANT_HANDLERS

ACTOR = "admin"


@get("/customers", responses=problems(400, 401, 403, 404, 409), summary="List customers")
async def list_customers(
    runtime: FromRuntime, after: CustomerId = None, limit: Limit = 100, user_id: FromQuery[str | None] = None
) -> CustomerPage:
    """All customers in pages, or the one with a `user_id`."""
    if user_id is not None:
        row = await runtime.ledger.find_customer_by_user(user_id)
        return CustomerPage(customers=[_customer(row)] if row is not None else [], next_after=None)
    rows = await runtime.ledger.list_customers(after=after or "", limit=limit)
    return CustomerPage(
        customers=[_customer(row) for row in rows],
        next_after=rows[-1].customer_id if len(rows) == limit else None,
    )


@post(
    "/customers",
    status_code=201,
    responses=problems(400, 401, 403, 404, 409),
    response_headers=[LOCATION],
    summary="Create a customer",
)
async def create_customer(data: JSONBody[CustomerOrder], runtime: FromRuntime) -> Response[CustomerView]:
    """A customer before any checkout: it has the default tier."""
    check_user_id(data.user_id)
    row = await runtime.provisioning.create_customer(data.user_id, actor=ACTOR)
    await runtime.publisher.publish_soon(row.customer_id)
    return Response(_customer(row), headers={"location": _path_of(row.customer_id)})


@get("/customers/{customer_id:str}", responses=problems(400, 401, 403, 404, 409), summary="Show a customer")
async def show_customer(customer_id: FromPath[str], runtime: FromRuntime) -> CustomerDetail:
    """A customer, and what it may do now."""
    row = await find_row(runtime, customer_id=customer_id)
    return CustomerDetail(customer=_customer(row), subscription=await _subscription(runtime, customer_id))


@post(
    "/customers/{customer_id:str}/block",
    status_code=200,
    responses=problems(400, 401, 403, 404, 409),
    summary="Suspend a customer",
)
async def block_customer(
    customer_id: FromPath[str], runtime: FromRuntime, data: JSONBody[Reason | None] = None
) -> Blocked:
    """Refuse all calls of a customer, whatever Stripe says, from its next call on, and close its open checkouts."""
    because = (data or Reason()).because
    block = await runtime.blocking.block(customer_id, runtime.policy.current, actor=ACTOR, because=because)
    return Blocked(
        customer_id=customer_id, blocked=True, in_force=block.is_published, checkouts_closed=block.pages_closed
    )


@post(
    "/customers/{customer_id:str}/unblock",
    status_code=200,
    responses=problems(400, 401, 403, 404, 409),
    summary="Lift a suspension",
)
async def unblock_customer(
    customer_id: FromPath[str], runtime: FromRuntime, data: JSONBody[Reason | None] = None
) -> Blocked:
    """Let a customer do again what its subscription grants."""
    because = (data or Reason()).because
    in_force = await runtime.blocking.unblock(customer_id, runtime.policy.current, actor=ACTOR, because=because)
    return Blocked(customer_id=customer_id, blocked=False, in_force=in_force, checkouts_closed=0)


@post(
    "/customers/{customer_id:str}/sync",
    status_code=200,
    guards=[needs_billing],
    responses=problems(400, 401, 403, 404, 409, 501),
    summary="Synchronise with Stripe",
)
async def sync_customer(customer_id: FromPath[str], runtime: FromRuntime) -> Synced:
    """Read the customer's subscriptions from Stripe now and put in force what they grant."""
    outcome = await runtime.sync.sync_customer(customer_id, "asked by the admin API", actor=ACTOR)
    return Synced(
        customer_id=customer_id,
        result=outcome.result,
        changed=outcome.changed,
        findings=[{"code": finding.code, "detail": finding.detail} for finding in outcome.findings],
        subscription=await _subscription(runtime, customer_id),
    )


@get("/customers/{customer_id:str}/keys", responses=problems(400, 401, 403, 404, 409), summary="List a customer's keys")
async def list_keys(
    customer_id: FromPath[str],
    runtime: FromRuntime,
    *,
    include_revoked: FromQuery[bool] = False,
    limit: Limit = 100,
    after: KeyPlace = None,
) -> KeyList:
    """The customer's keys in pages, without their texts."""
    await find_row(runtime, customer_id=customer_id)
    return await listed(runtime, customer_id, include_revoked=include_revoked, limit=limit, after=after)


@post(
    "/customers/{customer_id:str}/keys",
    status_code=201,
    responses=problems(400, 401, 403, 404, 409),
    response_headers=[LOCATION],
    summary="Issue a key",
)
async def issue_key(
    customer_id: FromPath[str], runtime: FromRuntime, data: JSONBody[KeyRequest | None] = None
) -> Response[NewKey]:
    """A new key for a customer; its text is in this answer only."""
    await find_row(runtime, customer_id=customer_id)
    return _created_key(await issued(runtime, customer_id, data or KeyRequest(), actor=ACTOR))


@post(
    "/customers/{customer_id:str}/keys/{key_id:str}/rotate",
    status_code=201,
    responses=problems(400, 401, 403, 404, 409),
    response_headers=[LOCATION],
    summary="Replace a key",
)
async def rotate_key(
    customer_id: FromPath[str], key_id: FromPath[str], runtime: FromRuntime, data: JSONBody[Rotation | None] = None
) -> Response[NewKey]:
    """A successor that may do the same and lasts as long; the old key ends after the overlap. Once a key."""
    return _created_key(await rotated(runtime, customer_id, key_id, (data or Rotation()).overlap_s, actor=ACTOR))


@delete(
    "/customers/{customer_id:str}/keys/{key_id:str}",
    status_code=200,
    responses=problems(400, 401, 403, 404, 409),
    summary="Revoke a key",
)
async def revoke_key(customer_id: FromPath[str], key_id: FromPath[str], runtime: FromRuntime) -> KeyRevoked:
    """End a key now; the very next request with it is refused."""
    return await revoked(runtime, customer_id, key_id, actor=ACTOR)


def _path_of(customer_id: str) -> str:
    return f"{OPERATIONS}/admin/customers/{customer_id}"


def _created_key(key: NewKey) -> Response[NewKey]:
    return Response(key, headers={"location": f"{_path_of(key.customer_id)}/keys/{key.key_id}"})


async def _subscription(runtime: FromRuntime, customer_id: str) -> SubscriptionView:
    account = await runtime.ledger.load_account(customer_id)
    if account is None:
        raise CustomerNotFound
    return view_subscription(account, runtime)


def _customer(row: CustomerRow) -> CustomerView:
    return CustomerView(
        customer_id=row.customer_id,
        user_id=row.user_id,
        stripe_customer_id=row.stripe_customer_id,
        created_at=row.created_at,
        blocked=row.blocked,
        version=row.version,
        published_version=row.published_version,
    )


def admin_router() -> Router:
    """Every admin route, behind the one guard."""
    return Router(
        path="/admin",
        guards=[require_admin],
        tags=["admin"],
        security=WITH_TOKEN,
        route_handlers=[
            list_customers,
            create_customer,
            show_customer,
            block_customer,
            unblock_customer,
            sync_customer,
            list_keys,
            issue_key,
            rotate_key,
            revoke_key,
            *CREDIT_HANDLERS,
            *TIER_GRANT_HANDLERS,
            *EVENT_HANDLERS,
            *RECONCILIATION_HANDLERS,
            *AUDIT_HANDLERS,
        ],
    )
