"""USE CASE: a customer says how much its overage may cost in a billing period. Ledger first, then the cache.

The account carries the cap, so it holds with the next call. What it buys is worked out at every decision from the
price that the subscription has then (`core.allowance`): a price that changes moves it by itself. A cap may be set
before the overage begins (in a trial, while a payment is due), and a cap of nothing also where no price can be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.access import decide_access, in_force
from gateway.core.account import SpendCap
from gateway.core.allowance import carried_item, find_allowance, find_cap
from gateway.core.errors import Rejected, TiergateError
from gateway.core.lifecycle import CUSTOMER_DELETED
from gateway.core.metered_items import find_metered
from gateway.core.money import MOST_MONEY, money_text
from gateway.core.plan_map import MONEYLESS_STATUSES, plan_of_record
from gateway.ledger import Ledger, SpendCapRow
from gateway.publishing import Publisher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.clock import Clock
    from gateway.core.account import Account
    from gateway.core.allowance import Bound
    from gateway.core.overage import Overage
    from gateway.core.policy import Policy

ANY_CURRENCY = "usd"
"""Of a cap of nothing where no currency is known: it is as much in all of them."""
_NOT_YET = "nothing is billed now"


class SpendCapInvalid(Rejected):
    """There can be no such cap. The message says why."""

    code = "invalid-spend-cap"


class NoOverage(TiergateError):
    """The customer has no overage whose cost could be capped."""

    code = "no-overage"


@dataclass(frozen=True, slots=True, kw_only=True)
class CapOrder:
    """The cap that is asked for."""

    amount: int
    """In the smallest unit of the price's currency; 0: no overage."""
    meter: str | None = None
    """None: of the only overage there is."""
    currency: str | None = None
    """What the caller takes the currency to be; None: the price's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapState:
    """The overage of one meter, and what caps it."""

    meter: str
    currency: str | None
    """The price's; None: the price cannot be read, or is not bought yet."""
    own: SpendCap | None
    """What the customer set."""
    default: tuple[int, str] | None
    """Amount and currency that policy says for whoever set none."""
    units: int
    """Beyond what is included, by the lowest of all caps."""
    bound: Bound
    words: str

    @property
    def amount(self) -> int | None:
        """The spend cap in force, in the smallest unit; None: there is none."""
        if self.own is not None:
            return self.own.amount
        return None if self.default is None else self.default[0]

    @property
    def amount_text(self) -> str | None:
        """The same, for people."""
        if self.own is not None:
            return money_text(self.own.amount, self.own.currency)
        return None if self.default is None else money_text(*self.default)


def list_caps(account: Account, policy: Policy, now: float) -> tuple[CapState, ...]:
    """Of each overage that the customer has now, or whose plan has it."""
    account = in_force(account, policy, now)
    access = decide_access(account, policy, now)
    states = []
    for limit in access.tier.limits if access.tier is not None and access.tier.overages else ():
        allowance = find_allowance(policy, account, access, limit, now)
        item = None if allowance is None else carried_item(policy, account, access, allowance.overage)
        if allowance is None or item is None:
            continue
        states.append(
            CapState(
                meter=allowance.overage.meter,
                currency=None if item.tariff is None else item.tariff.currency,
                own=find_cap(account, allowance.overage),
                default=allowance.overage.spend_cap,
                units=allowance.units,
                bound=allowance.bound,
                words=allowance.words,
            )
        )
    counting = {state.meter for state in states}
    return (*states, *(one for one in _waiting(account, policy) if one.meter not in counting))


def _waiting(account: Account, policy: Policy) -> Iterator[CapState]:
    """Of each overage of the plan that there is, as long as nothing is billed: a trial, a payment that is due."""
    subscription = account.subscription
    if subscription is None or subscription.status in MONEYLESS_STATUSES | {CUSTOMER_DELETED}:
        return
    plan = plan_of_record(subscription, policy)
    for overage in () if plan is None else policy.tiers[plan.tier].overages:
        price = overage.price if plan is None else dict(plan.overage_prices).get(overage.meter, overage.price)
        item = find_metered(subscription.metered, price)
        tariff = None if item is None else item.tariff
        yield _not_yet(account, overage, None if tariff is None else tariff.currency)


def _not_yet(account: Account, overage: Overage, currency: str | None) -> CapState:
    return CapState(
        meter=overage.meter,
        currency=currency,
        own=find_cap(account, overage),
        default=overage.spend_cap,
        units=0,
        bound="none",
        words=_NOT_YET,
    )


class Capping:
    """Sets and removes spend caps."""

    def __init__(self, ledger: Ledger, publisher: Publisher, clock: Clock) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._clock = clock

    def list(self, account: Account, policy: Policy) -> tuple[CapState, ...]:
        """Of each overage that the customer has now, or whose plan has it."""
        return list_caps(account, policy, self._clock.now())

    async def set(self, account: Account, policy: Policy, order: CapOrder, *, actor: str, because: str) -> bool:
        """Set a cap in the place of the one before, or of policy's.

        Returns:
            Whether the cache knows already.

        Raises:
            NoOverage: There is nothing to cap, or not of that meter, or nobody knows what an amount above 0 would buy.
            SpendCapInvalid: Not an amount, or not of the price's currency.
            LedgerUnavailable: Nothing was changed, or nobody knows; it may be asked again.
        """
        state = find_state(self.list(account, policy), order.meter)
        if not 0 <= order.amount <= MOST_MONEY:
            raise SpendCapInvalid(f"A spend cap is 0 or more, and at most {MOST_MONEY} of the smallest unit.")
        asked, currency = None if order.currency is None else order.currency.lower(), state.currency
        if currency is None and order.amount:
            raise NoOverage("The price of this overage cannot be read, so the only amount that can cap it is 0.")
        if currency is not None and asked not in {None, currency}:
            raise SpendCapInvalid(f"This overage is billed in {currency.upper()}.")
        cap = SpendCap(meter=state.meter, amount=order.amount, currency=currency or asked or ANY_CURRENCY)
        row = SpendCapRow(customer_id=account.customer_id, cap=cap, set_at=int(self._clock.now()))
        await self._ledger.set_spend_cap(row, actor=actor, because=because)
        return await self._publisher.publish_soon(account.customer_id)

    async def drop(self, account: Account, policy: Policy, meter: str | None, *, actor: str, because: str) -> bool:
        """Let policy's cap hold again; nothing happens if the customer set none. Returns and raises as `set`."""
        state = find_state(self.list(account, policy), meter)
        await self._ledger.drop_spend_cap(
            account.customer_id, state.meter, now=int(self._clock.now()), actor=actor, because=because
        )
        return await self._publisher.publish_soon(account.customer_id)


def find_state(states: tuple[CapState, ...], meter: str | None) -> CapState:
    """The one of a meter; of none named, the only one.

    Raises:
        NoOverage: There is none, or it is not said which.
    """
    if not states:
        raise NoOverage("This account has no overage: its quota cannot be exceeded.")
    found = [state for state in states if meter in {None, state.meter}]
    if len(found) != 1:
        raise NoOverage(f"Say of which meter: {', '.join(state.meter for state in states)}.")
    return found[0]
