"""Plans, checkout, portal and subscription: under the billing prefix."""

from __future__ import annotations

from typing import TypeAlias

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, SkipValidation

from gateway.billing import CheckoutLink
from gateway.checkout import Checkouts
from gateway.core.access import decide_access, in_force
from gateway.core.access_value import Access
from gateway.core.account import Account, Subscription
from gateway.core.plan_map import plan_of_record, scheduled_plan
from gateway.core.policy import Policy
from gateway.core.purchase import Extras
from gateway.core.tier_grant import grant_state
from gateway.web.billing_bodies import (
    AddOnCount,
    CheckoutOrder,
    CheckoutStarted,
    PortalLink,
    PortalOrder,
    ScheduledChange,
    SubscriptionView,
    TierGrantView,
)
from gateway.web.billing_gate import needs_billing
from gateway.web.callers import (
    AnyRequest,
    Caller,
    FromCaller,
    FromRuntime,
    check_own,
    client_address,
    find_named,
    load_named,
)
from gateway.web.claim_cookie import claim_cookie
from gateway.web.credentials import PUBLIC, WITH_KEY
from gateway.web.offers import list_plans
from gateway.web.other_sites import refuse_other_sites
from gateway.web.problem_shape import problems
from gateway.web.refusals import NotAuthorized, RequestInvalid
from gateway.web.runtime import Runtime
from gateway.web.stripe_turns import take_turn_of

_JSON = "application/json"

FromCheckouts: TypeAlias = NamedDependency[SkipValidation[Checkouts]]


def provide_checkouts(runtime: FromRuntime) -> Checkouts:
    """The checkout use case, for handlers."""
    return Checkouts(
        ledger=runtime.ledger,
        billing=runtime.billing,
        policy=runtime.policy,
        sync=runtime.sync,
        provisioning=runtime.provisioning,
        signups=runtime.signups,
        codec=runtime.codec,
        clock=runtime.clock,
        base_url=runtime.site.base_url,
    )


@post(
    "/create-checkout",
    security=[*PUBLIC, *WITH_KEY],
    status_code=200,
    guards=[needs_billing],
    responses=problems(400, 401, 402, 403, 409, 413, 422, 429, 501, 502),
    summary="Start a checkout",
    tags=["billing"],
)
async def create_checkout(
    request: AnyRequest,
    data: JSONBody[CheckoutOrder],
    runtime: FromRuntime,
    caller: FromCaller,
    checkouts: FromCheckouts,
) -> Response[CheckoutStarted]:
    """A hosted page where a plan can be paid for.

    With an API key: for its own customer. With the server token: for any `user_id`, which becomes a
    customer if it is not one. With neither, if sign-up is open: for a new customer, in JSON by its
    content type, and in a browser from a page of this site only.
    """
    if caller.role == "anonymous":
        return await _sign_up(request, data, runtime, checkouts)
    await take_turn_of(caller, runtime)
    link = await _checkout_of_known(data, caller, checkouts)
    return Response(_started(link))


async def _checkout_of_known(data: CheckoutOrder, caller: Caller, checkouts: Checkouts) -> CheckoutLink:
    if caller.account is not None:
        caller.require_manager()
        check_own(caller, data.user_id, data.customer_id)
        return await checkouts.for_customer(caller.account.customer_id, data.plan_id, _extras(data))
    if (data.user_id is None) == (data.customer_id is None):
        raise RequestInvalid("Name one customer: by 'user_id' or by 'customer_id'.")
    if data.user_id is not None:
        return await checkouts.for_user(data.user_id, data.plan_id, actor=caller.actor, extras=_extras(data))
    return await checkouts.for_customer(data.customer_id or "", data.plan_id, _extras(data))


def _extras(data: CheckoutOrder) -> Extras:
    return Extras(seats=data.seats, add_ons=tuple(data.add_ons))


async def _sign_up(
    request: AnyRequest, data: CheckoutOrder, runtime: Runtime, checkouts: Checkouts
) -> Response[CheckoutStarted]:
    if runtime.settings.signup != "open":
        raise NotAuthorized("Sign-up is closed here: send an API key, or the server token.")
    if data.customer_id is not None:
        raise NotAuthorized("Without credentials a checkout is for a new customer only.")
    _require_json(request)
    refuse_other_sites(request)
    signup = await checkouts.for_newcomer(
        data.plan_id, address=client_address(request, runtime), name=data.user_id, extras=_extras(data)
    )
    is_secure = runtime.site.base_url.startswith("https://")
    cookie = claim_cookie(signup.link.session_id, signup.claim_secret, is_secure=is_secure)
    return Response(_started(signup.link), cookies=[cookie])


def _require_json(request: AnyRequest) -> None:
    """Any site can make a browser send text or a form; for JSON the browser asks us first, and we do not answer."""
    if request.content_type[0] != _JSON:
        raise RequestInvalid(f"Send the order as JSON, with 'Content-Type: {_JSON}'.")


@post(
    "/portal-session",
    status_code=200,
    guards=[needs_billing],
    responses=problems(400, 401, 402, 403, 404, 409, 422, 429, 501, 502),
    summary="Open the billing portal",
    tags=["billing"],
)
async def open_portal(
    runtime: FromRuntime, caller: FromCaller, checkouts: FromCheckouts, data: JSONBody[PortalOrder | None] = None
) -> PortalLink:
    """Stripe's page where the customer changes cards, sees invoices and cancels.

    With `flow` it opens at one act: `payment_method_update`, which is open to whoever owes, too,
    `subscription_cancel`, `subscription_update`, or `subscription_update_confirm` with a `plan_id`.
    """
    caller.require_manager()
    await take_turn_of(caller, runtime)
    order = data or PortalOrder()
    if (order.flow == "subscription_update_confirm") != (order.plan_id is not None):
        raise RequestInvalid("Send 'plan_id' with the flow 'subscription_update_confirm', and with no other.")
    customer_id = await find_named(runtime, caller, order.user_id, order.customer_id)
    return PortalLink(portal_url=await checkouts.open_portal(customer_id, order.flow, plan_id=order.plan_id))


@get("/subscription", responses=problems(400, 401, 403, 404), summary="Show the subscription", tags=["billing"])
async def show_subscription(
    runtime: FromRuntime,
    caller: FromCaller,
    user_id: FromQuery[str | None] = None,
    customer_id: FromQuery[str | None] = None,
) -> SubscriptionView:
    """What the customer has, and how it stands."""
    return view_subscription(await load_named(runtime, caller, user_id, customer_id), runtime)


def view_subscription(account: Account, runtime: Runtime) -> SubscriptionView:
    """An account's subscription for its owner."""
    account = in_force(account, runtime.policy.current, runtime.clock.now())
    access = decide_access(account, runtime.policy.current, runtime.clock.now())
    subscription = account.subscription
    return SubscriptionView(
        customer_id=account.customer_id,
        user_id=account.user_id,
        standing=access.standing,
        tier=access.tier.name if access.tier is not None else None,
        plan_id=access.plan_id,
        status=subscription.status if subscription is not None else None,
        subscribed_plan_id=_subscribed(subscription, runtime.policy.current),
        seats=subscription.seats if subscription is not None else None,
        add_ons=_counts(subscription.add_ons) if subscription is not None else [],
        period_starts_at=subscription.period_starts_at if subscription is not None else None,
        period_ends_at=subscription.period_ends_at if subscription is not None else None,
        cancel_at=subscription.cancel_at if subscription is not None else None,
        scheduled_change=_scheduled_change(subscription, runtime.policy.current, runtime.clock.now()),
        grace_until=access.grace_until,
        flags=[flag for flag, _ in subscription.flags] if subscription is not None else [],
        confirmation_needed=subscription is not None and subscription.is_unconfirmed,
        tier_grant=_tier_grant(account, access, runtime),
        warning=access.warning,
    )


def _tier_grant(account: Account, access: Access, runtime: Runtime) -> TierGrantView | None:
    grant = account.tier_grant
    if grant is None:
        return None
    state = grant_state(grant, access, runtime.policy.current, runtime.clock.now())
    return TierGrantView(tier=grant.tier, granted_at=grant.granted_at, ends_at=grant.ends_at, state=state)


def _subscribed(subscription: Subscription | None, policy: Policy) -> str | None:
    """By the id that policy has for it now; one that policy does not sell any more, by its last."""
    plan = None if subscription is None else plan_of_record(subscription, policy)
    return plan.plan_id if plan is not None else None if subscription is None else subscription.plan_id


def _scheduled_change(subscription: Subscription | None, policy: Policy, now: float) -> ScheduledChange | None:
    """What is to come. A change whose time has come and that Stripe has not told of yet is none any more."""
    if subscription is None or subscription.scheduled_at is None or subscription.scheduled_at <= now:
        return None
    is_known, plan = subscription.scheduled_seats is not None, scheduled_plan(subscription, policy)
    return ScheduledChange(
        plan_id=subscription.scheduled_plan_id if plan is None else plan.plan_id,
        at=subscription.scheduled_at,
        seats=subscription.scheduled_seats,
        add_ons=_counts(subscription.scheduled_add_ons) if is_known else None,
    )


def _counts(add_ons: tuple[tuple[str, int], ...]) -> list[AddOnCount]:
    return [AddOnCount(add_on=name, count=count) for name, count in add_ons]


def _started(link: CheckoutLink) -> CheckoutStarted:
    return CheckoutStarted(checkout_url=link.url, session_id=link.session_id, expires_at=link.expires_at)


HANDLERS = (create_checkout, list_plans, open_portal, show_subscription)
