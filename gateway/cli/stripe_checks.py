"""Is Stripe set up for this gateway? The key, the prices behind the plans, the webhook endpoint, the clocks."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.billing import API_VERSION, SEARCH, TOLERANCE_S
from gateway.cli.delivery_checks import check_deliveries
from gateway.cli.findings import Finding, fail, ok, warn
from gateway.cli.meter_error_checks import check_meter_errors
from gateway.cli.offer_checks import check_offers
from gateway.cli.opening import open_clock
from gateway.cli.opening_stripe import open_billing
from gateway.cli.overage_checks import check_overages
from gateway.cli.webhook_checks import check_webhook
from gateway.core.errors import BillingRefused, BillingUnavailable, LedgerUnavailable, StripeAccountWrong
from gateway.installation import stripe_change
from gateway.ledger import Ledger, LedgerUrlInvalid
from gateway.sync import LedgerAccount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.billing import Billing, PriceFacts, StripeReport
    from gateway.core.policy import Plan, Policy
    from gateway.settings import Settings

_SKEW_WARN_S = 30
_DIAGNOSTIC_ONLY = frozenset({"account", "webhook endpoints"})
"""What only `doctor` reads: a restricted key serves without it."""
_DONE_WITHOUT = {
    "payment intents": "a payment that waits to be confirmed with its bank (3-D Secure) is told as one that failed"
}
"""What a restricted key serves without, and what it lacks then."""
_NO_SEARCH = (
    "Stripe does not search customers for this account and key (it does for none in India): who buys first is not "
    "looked for by its labels. What is left: the ledger binds each buyer to one Stripe customer, and a creation that "
    "is repeated within a day makes the same one"
)
_MEND_SEARCH = (
    "Allow a restricted key to read customers. In India, after a restore from a backup, run 'tiergate customers import "
    "--from-stripe' before you serve, and make no customer anew by hand without an import."
)


async def check_stripe(settings: Settings, policy: Policy | None) -> list[Finding]:
    """Everything that can be read from Stripe, if there is one. Changes nothing there."""
    if settings.stripe_key is None:
        return [ok("stripe", "not configured: nothing is sold, and tiers are granted by hand"), *_unsold(policy)]
    billing = open_billing(settings)
    try:
        report = await billing.describe(_needed(policy))
        findings = [*_key(settings, report)]
        if "prices" not in report.refused and policy is not None:
            findings += await _prices(billing, policy)
            findings += await check_offers(billing, policy)
            findings += await check_overages(billing, policy)
            findings += check_meter_errors(settings.webhook_url, report.destinations, policy, is_live=settings.livemode)
        endpoints = None if "webhook endpoints" in report.refused else report.endpoints
        findings += check_webhook(settings, endpoints, report.destinations)
        findings += await check_deliveries(billing, open_clock(settings).now())
        findings += await _account(settings, billing)
        return [*findings, *_portal(report, policy), *_clock(report.clock_skew_s)]
    except BillingUnavailable as error:
        return [
            fail(
                "stripe",
                f"{_place(settings)} does not answer: {error}",
                "Check the network and status.stripe.com; calls with existing keys are served meanwhile.",
            )
        ]
    finally:
        await billing.aclose()


def _unsold(policy: Policy | None) -> Iterator[Finding]:
    if policy is not None and policy.plans:
        yield warn(
            "stripe",
            f"the policy sells {', '.join(policy.plans)}, and without Stripe nobody can buy them",
            "Set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET, or take the plans out of the policy.",
        )


def _needed(policy: Policy | None) -> frozenset[str]:
    """What a key must be allowed beside, for this policy."""
    if policy is None:
        return frozenset()
    has_overage = any(tier.overages for tier in policy.tiers.values())
    needs = {"entitlements": bool(policy.entitlements), "billing meters": has_overage}
    return frozenset(what for what, is_needed in needs.items() if is_needed)


def _place(settings: Settings) -> str:
    return f"the sandbox at {settings.stripe_url}" if settings.stripe_url is not None else "Stripe"


def _key(settings: Settings, report: StripeReport) -> Iterator[Finding]:
    if "customers" in report.refused and "prices" in report.refused and "account" in report.refused:
        yield fail(
            "stripe",
            "Stripe does not accept STRIPE_SECRET_KEY",
            "Copy it again (dashboard: Developers, API keys). It may be revoked or expired, or may not read anything.",
        )
        return
    whose = report.account_name or report.account_id or "an account that it may not read"
    yield ok("stripe", f"{settings.mode} mode key of {whose}, {_place(settings)}, API {API_VERSION}")
    for what in report.refused:
        fix = f"Edit the restricted key (dashboard: Developers, API keys): allow {what}."
        if what == SEARCH:
            yield warn("stripe", _NO_SEARCH, _MEND_SEARCH)
        elif what in _DONE_WITHOUT:
            yield warn("stripe", f"the key may not read {what}: {_DONE_WITHOUT[what]}", fix)
        elif what in _DIAGNOSTIC_ONLY:
            yield warn("stripe", f"the key may not read {what}, so that cannot be checked", fix)
        else:
            yield fail("stripe", f"the key may not use {what}", fix)
    if settings.livemode and settings.public_url is not None and urlsplit(settings.public_url).scheme != "https":
        yield fail(
            "stripe",
            "live mode, and TIERGATE_PUBLIC_URL is http: keys would travel in clear",
            "Put TLS in front and set TIERGATE_PUBLIC_URL=https://...",
        )


async def _prices(billing: Billing, policy: Policy) -> list[Finding]:
    try:
        prices = await billing.fetch_prices(policy.plans.values())
    except BillingRefused as error:
        return [fail("prices", f"the plans' prices cannot be read: {error}", "See the finding about the key.")]
    findings = [_price(plan, prices.get(plan.plan_id)) for plan in policy.plans.values()]
    return [*findings, *_twice_sold(prices)]


def _price(plan: Plan, price: PriceFacts | None) -> Finding:
    name = (
        f"price {plan.price_id}" if plan.price_id is not None else f"an active price with lookup key {plan.lookup_key}"
    )
    if price is None:
        return fail(
            "prices",
            f"plan {plan.plan_id!r}: Stripe does not have {name}",
            "Make the price (dashboard: Product catalogue), or correct the plan's `price:` line in the policy.",
        )
    if not price.active:
        return fail(
            "prices",
            f"plan {plan.plan_id!r}: price {price.price_id} is archived and cannot be sold",
            "Sell its successor: put that id, or a lookup key, into the policy. Existing subscriptions go on.",
        )
    if price.interval is None:
        return fail(
            "prices",
            f"plan {plan.plan_id!r}: price {price.price_id} is paid once, not recurring",
            "Make a recurring price: a subscription needs one.",
        )
    if plan.lookup_key is not None and price.lookup_key != plan.lookup_key:
        return fail(
            "prices",
            f"plan {plan.plan_id!r} names {plan.lookup_key!r}, but price {price.price_id} has {price.lookup_key!r}",
            "Correct one of the two.",
        )
    count = "" if price.interval_count == 1 else f"{price.interval_count} "
    amount = price.amount_text or "a tiered price"
    return ok("prices", f"plan {plan.plan_id!r}: {amount} per {count}{price.interval}, {price.price_id}")


def _twice_sold(prices: Mapping[str, PriceFacts]) -> Iterator[Finding]:
    plans: dict[str, list[str]] = {}
    for plan_id, price in prices.items():
        plans.setdefault(price.price_id, []).append(plan_id)
    for price_id, names in plans.items():
        if len(names) > 1:
            yield fail(
                "prices",
                f"plans {', '.join(names)} share price {price_id}: what a customer bought cannot be told apart",
                "Give each plan a price of its own.",
            )


async def _account(settings: Settings, billing: Billing) -> list[Finding]:
    """Whether the ledger belongs to this account; which one it does is recorded when it is first seen."""
    try:
        ledger = await Ledger.open(settings.ledger_dsn)
    except LedgerUrlInvalid:  # a finding about the ledger says so
        return []
    try:
        if not await ledger.is_migrated():
            return []
        await LedgerAccount(ledger=ledger, billing=billing, clock=open_clock(settings)).check()
    except StripeAccountWrong as error:
        change = stripe_change(error.what)
        return [fail("stripe", change.what, change.fix)]
    except (BillingRefused, LedgerUnavailable):  # other findings say so
        return []
    finally:
        await ledger.aclose()
    return []


def _portal(report: StripeReport, policy: Policy | None) -> Iterator[Finding]:
    owed = [] if policy is None else list(_owed_later(policy))
    if report.portal_is_set_up is False:
        yield warn(
            "portal",
            "Stripe's customer portal was never set up: customers cannot change cards, see invoices or cancel",
            "Save it once, in this mode (dashboard: Settings, Billing, Customer portal).",
        )
    elif report.portal_cancels_at_once and owed:
        yield warn(
            "portal",
            f"the customer portal cancels subscriptions at once: {' and '.join(owed)} of the period that runs is then"
            " never billed",
            "Have it cancel at the end of the billing period (dashboard: Settings, Billing, Customer portal).",
        )
    elif report.portal_is_set_up:
        yield ok("portal", "the customer portal is set up")


def _owed_later(policy: Policy) -> Iterator[str]:
    """What a subscription of this policy is used for before it is on an invoice."""
    if any(tier.overages for tier in policy.tiers.values()):
        yield "overage"
    terms = policy.switching
    if terms.proration == "next invoice" and "now" in terms.upgrade and policy.plans:
        yield "the price of an upgrade ('proration: next invoice')"


def _clock(skew_s: float | None) -> Iterator[Finding]:
    if skew_s is None:
        return
    fix = "Synchronise this machine's clock (NTP)."
    size, side = abs(skew_s), "behind" if skew_s > 0 else "ahead of"
    if size > TOLERANCE_S:
        yield fail("clock", f"this machine is {size:.0f} s {side} Stripe: every webhook is refused as too old", fix)
    elif size > _SKEW_WARN_S:
        yield warn("clock", f"this machine is {size:.0f} s {side} Stripe", fix)
    else:
        yield ok("clock", "agrees with Stripe's")
