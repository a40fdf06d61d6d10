"""USE CASE: somebody wants to pay. Who may, for which plan, as which customer of Stripe.

Laws, which hold for any number of workers and clicks:
- one user of the seller is one customer (`user_id` is unique in the ledger), and one customer
  is at most one Stripe customer (made under an idempotency key, bound by compare-and-set);
- whoever has a subscription that may still take money gets no second one: that is asked of
  Stripe, not of our record, because a payment a second ago is not in our record yet; and of
  a customer's checkout pages only the latest can be paid, and no idle subscription beside it;
- whoever owes for a subscription that is over pays that first (`sync.old_debts`);
- nothing is sold with a key of another Stripe account than the ledger's (`sync.account`);
- a buyer whom nobody vouches for becomes a *new* customer whose `user_id` is our own, so it
  can neither take a seller's user nor find out whether there is one; a browser that proves that
  it began an earlier checkout goes on as that customer, while nobody has a key of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from gateway.billing import Billing, Buyer, CheckoutLink, PortalFlowName
from gateway.clock import Clock
from gateway.core.errors import BillingRefused, Denied
from gateway.core.keys import KeyCodec
from gateway.core.policy import Plan, Policy
from gateway.core.purchase import NO_EXTRAS, Extras, Purchase, check_purchase
from gateway.core.user_id import check_name, check_user_id
from gateway.ledger import CustomerRow, CustomerUnknown, Ledger, UserExists
from gateway.provisioning import Provisioning
from gateway.signups import Signups
from gateway.sync import (
    NoSubscription,
    Sync,
    SyncOutcome,
    UnknownPlan,
    find_or_make,
    no_plan_words,
    portal_flow,
    refuse_debtor,
    refuse_suspended,
)

log = structlog.get_logger(__name__)

_CLAIM_BYTES = 32


class AlreadySubscribed(Denied):
    """There is a subscription that takes money, or will when its payment is mended."""

    code = "already-subscribed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signup:
    """A checkout of somebody new, and the secret that later proves who began it."""

    link: CheckoutLink
    claim_secret: str
    """For the buyer's browser only: whoever shows it collects the first key."""


class HoldsPolicy(Protocol):
    """Where the running policy is found."""

    @property
    def current(self) -> Policy:
        """The policy in force now."""
        ...


class Checkouts:
    """Starts checkouts and portal sessions.

    Args:
        base_url: Where browsers reach this gateway, without a trailing slash.
    """

    def __init__(  # noqa: PLR0913 - the parts it is made of
        self,
        *,
        ledger: Ledger,
        billing: Billing,
        policy: HoldsPolicy,
        sync: Sync,
        provisioning: Provisioning,
        signups: Signups,
        codec: KeyCodec,
        clock: Clock,
        base_url: str,
    ) -> None:
        self._ledger = ledger
        self._billing = billing
        self._policy = policy
        self._sync = sync
        self._provisioning = provisioning
        self._signups = signups
        self._codec = codec
        self._clock = clock
        self._base_url = base_url

    async def for_customer(self, customer_id: str, plan_id: str, extras: Extras = NO_EXTRAS) -> CheckoutLink:
        """A checkout for a customer that exists.

        Raises:
            UnknownPlan, SeatsNotSold, AddOnNotSold, CurrencyDiffers: It is not sold like this.
            AlreadySubscribed, PaymentRequired, AccountSuspended: It is not sold to this customer.
            CustomerUnknown: No such customer.
            BillingUnavailable, BillingRefused, LedgerUnavailable: Nobody can say.
        """
        purchase = self._find_purchase(plan_id, extras)
        row = await self._ledger.find_customer(customer_id)
        if row is None:
            raise CustomerUnknown(customer_id)
        return await self._open(row, purchase, claim_digest=None)

    async def for_user(self, user_id: str, plan_id: str, *, actor: str, extras: Extras = NO_EXTRAS) -> CheckoutLink:
        """A checkout for a user of the seller, who becomes a customer unless it is one already.

        Raises:
            UserIdInvalid: Not a `user_id` that a customer can have.
            UnknownPlan, SeatsNotSold, AddOnNotSold, CurrencyDiffers: It is not sold like this.
            AlreadySubscribed, PaymentRequired, AccountSuspended: It is not sold to this customer.
            BillingUnavailable, BillingRefused, LedgerUnavailable: Nobody can say.
        """
        purchase = self._find_purchase(plan_id, extras)
        row = await self._ledger.find_customer_by_user(user_id)
        if row is None:
            row = await self._create(user_id, actor)
        return await self._open(row, purchase, claim_digest=None)

    async def for_newcomer(
        self,
        plan_id: str,
        *,
        address: str | None,
        name: str | None = None,
        begun_as: str | None = None,
        extras: Extras = NO_EXTRAS,
    ) -> Signup:
        """A checkout for somebody unknown, as a new customer.

        Args:
            plan_id: What to buy.
            address: Network address of the buyer, by which sign-ups are paced.
            name: What the buyer calls itself; kept in the audit log and never believed.
            begun_as: The customer of an earlier checkout, if the buyer has proved that it began that one: so
                two tabs of one browser are one customer, and only the page that was opened last can be paid.
            extras: What to buy with it.

        Raises:
            UserIdInvalid: No customer can be called that.
            UnknownPlan, SeatsNotSold, AddOnNotSold, CurrencyDiffers, AccountSuspended: It is not sold.
            AlreadySubscribed: The earlier checkout is paid.
            PaymentRequired: For a subscription of that customer that is over.
            TooManySignups: From this address, or altogether.
            BillingUnavailable, BillingRefused, LedgerUnavailable: Nobody can say.
        """
        purchase = self._find_purchase(plan_id, extras)
        if name is not None:
            check_name(name)
        await self._signups.take_turn(address)
        known = None if begun_as is None else await self._ledger.find_customer(begun_as)
        row = known or await self._provisioning.create_customer(None, actor="signup")
        if name is not None:
            await self._ledger.record_audit(
                at=int(self._clock.now()),
                customer_id=row.customer_id,
                actor="signup",
                action="signup-name",
                because="given at the checkout, not verified",
                after={"name": name},
            )
        claim_secret = secrets.token_urlsafe(_CLAIM_BYTES)
        link = await self._open(row, purchase, claim_digest=self._codec.claim_digest(claim_secret))
        return Signup(link=link, claim_secret=claim_secret)

    async def open_portal(
        self, customer_id: str, flow: PortalFlowName | None = None, *, plan_id: str | None = None
    ) -> str:
        """Address of the billing portal for a customer.

        Args:
            customer_id: Ours.
            flow: The one act it is to open at, after which the browser comes back to the account page.
            plan_id: The plan to be confirmed, for the flow that asks for it.

        Raises:
            UnknownPlan, SubscriptionEnding, SubscriptionScheduled, PaymentRequired, PortalCannotChange: The act
                cannot be done.
            NoSubscription: It never came near a checkout, or was deleted at Stripe since.
            CustomerUnknown: No such customer.
            BillingUnavailable, BillingRefused, LedgerUnavailable: Nobody can say.
        """
        row = await self._ledger.find_customer(customer_id)
        if row is None:
            raise CustomerUnknown(customer_id)
        if row.stripe_customer_id is None:
            raise NoSubscription("There is nothing in the billing portal before the first checkout.")
        page = f"{self._base_url}/_tiergate/account"
        act = None if flow is None else await portal_flow(self._sync, customer_id, flow, f"{page}?done={flow}", plan_id)
        address = await self._billing.create_portal_session(row.stripe_customer_id, page, act)
        if address is None:
            raise NoSubscription("The billing account was deleted at the payment provider; a checkout makes a new one.")
        return address

    def find_plan(self, plan_id: str) -> Plan:
        """The plan of that name in the running policy.

        Raises:
            UnknownPlan: The message names those there are.
        """
        plans = self._policy.current.plans
        plan = plans.get(plan_id)
        if plan is None:
            raise UnknownPlan(f"{no_plan_words(plan_id)} The plans are: {', '.join(plans) or 'none'}.")
        return plan

    def _find_purchase(self, plan_id: str, extras: Extras) -> Purchase:
        return check_purchase(self._policy.current, self.find_plan(plan_id), extras)

    async def _create(self, user_id: str, actor: str) -> CustomerRow:
        check_user_id(user_id)
        try:
            return await self._provisioning.create_customer(user_id, actor=actor)
        except UserExists:  # somebody else was quicker: it is the same customer
            row = await self._ledger.find_customer_by_user(user_id)
            if row is None:
                raise
            return row

    async def _open(self, row: CustomerRow, purchase: Purchase, *, claim_digest: str | None) -> CheckoutLink:
        """A page that can be paid, and no other. Of several at once, none may be left open: hence turns."""
        async with self._sync.turns.courteous(row.customer_id):
            return await self._open_in_turn(row.customer_id, purchase, claim_digest)

    async def _open_in_turn(self, customer_id: str, purchase: Purchase, claim_digest: str | None) -> CheckoutLink:
        row = await self._ledger.find_customer(customer_id)
        if row is None:
            raise CustomerUnknown(customer_id)
        await refuse_suspended(self._sync, customer_id)
        await self._sync.account.check()
        if row.stripe_customer_id is not None:
            await self._check_standing(row.customer_id, row.stripe_customer_id)
        stripe_customer_id = row.stripe_customer_id or await self._find_or_make_stripe_customer(row)
        link = await self._begin(row, purchase, stripe_customer_id)
        if link is None:  # deleted at Stripe since it was made
            gone = replace(row, stripe_customer_id=stripe_customer_id)
            stripe_customer_id = await self._find_or_make_stripe_customer(gone)
            link = await self._begin(row, purchase, stripe_customer_id)
        if link is None:
            raise BillingRefused("The payment provider does not know the customer it has just made.")
        await self._ledger.add_checkout(
            session_id=link.session_id,
            customer_id=row.customer_id,
            plan_id=purchase.plan.plan_id,
            claim_digest=claim_digest,
            now=int(self._clock.now()),
        )
        await self._leave_one_open(row.customer_id, stripe_customer_id, link)
        log.info(
            "checkout started",
            customer_id=row.customer_id,
            plan_id=purchase.plan.plan_id,
            seats=purchase.seats,
            add_ons=[add_on.name for add_on in purchase.add_ons],
            session_id=link.session_id,
        )
        return link

    async def _find_or_make_stripe_customer(self, row: CustomerRow) -> str:
        stripe_customer_id, was_there = await find_or_make(self._sync, row)
        if was_there:
            await self._check_standing(row.customer_id, stripe_customer_id)
        return stripe_customer_id

    async def _begin(self, row: CustomerRow, purchase: Purchase, stripe_customer_id: str) -> CheckoutLink | None:
        buyer = Buyer(
            stripe_customer_id=stripe_customer_id,
            customer_id=row.customer_id,
            user_id=row.user_id,
            success_url=f"{self._base_url}/_tiergate/success?session_id={{CHECKOUT_SESSION_ID}}",
            cancel_url=f"{self._base_url}/_tiergate/pricing",
            ledger_id=await self._ledger.keep_ledger_id(now=int(self._clock.now())),
        )
        return await self._billing.create_checkout(await self._with_gifts(purchase, stripe_customer_id), buyer)

    async def _with_gifts(self, purchase: Purchase, stripe_customer_id: str) -> Purchase:
        """A trial is had once, and so is a coupon: Stripe says what this customer had, however long ago that ended."""
        terms = purchase.plan.terms
        if terms.trial is None and terms.coupon is None:
            return purchase
        past = await self._billing.facts.fetch_past(stripe_customer_id)
        return replace(
            purchase,
            trial=None if past.trial else terms.trial,
            coupon=None if past.plan else terms.coupon,
        )

    async def _leave_one_open(self, customer_id: str, stripe_customer_id: str, link: CheckoutLink) -> None:
        """Of two pages that can be paid, both may be: close the others, and this one if another was paid meanwhile.

        This one too if its customer was suspended meanwhile: whoever did that did not see it. What is idle could be
        paid too, and is ended.
        """
        await self._billing.close_checkouts(stripe_customer_id, but=link)
        try:
            read = await self._refuse_second(customer_id)
            await refuse_suspended(self._sync, customer_id)
            await self._end_idle(customer_id, read.idle)
        except Denied:
            await self._billing.close_checkout(link.session_id)
            raise

    async def _end_idle(self, customer_id: str, idle: Sequence[str]) -> None:
        for subscription_id in idle:
            if not await self._billing.idle.end(subscription_id):
                raise AlreadySubscribed("A subscription began to run at this moment; change its plan instead.")
            log.info("idle subscription ended", customer_id=customer_id, subscription_id=subscription_id)

    async def _check_standing(self, customer_id: str, stripe_customer_id: str) -> None:
        """Refuse whoever has a subscription, or owes for one that is over."""
        read = await self._refuse_second(customer_id)
        await refuse_debtor(self._sync, customer_id, stripe_customer_id, read)

    async def _refuse_second(self, customer_id: str) -> SyncOutcome:
        """Read Stripe, and refuse if any subscription takes money or will, also one that is not recorded."""
        outcome = await self._sync.sync_customer(customer_id, "checkout requested", actor="checkout")
        if outcome.takes_money:
            raise AlreadySubscribed(
                f"There is a subscription already (status {outcome.takes_money[0]!r}); "
                "change its plan, or use the billing portal."
            )
        return outcome
