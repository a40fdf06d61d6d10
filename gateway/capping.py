"""USE CASE: a customer says how much its overage may cost in a billing period. Ledger first, then the cache.

The account carries the cap, so it holds with the next call. What it buys is worked out at every decision from the
price that the subscription has then (`core.allowance`): a price that changes moves it by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.access import decide_access
from gateway.core.account import SpendCap
from gateway.core.allowance import carried_item, find_allowance, find_cap
from gateway.core.errors import Rejected, TiergateError
from gateway.core.money import MOST_MONEY, money_text
from gateway.ledger import Ledger, SpendCapRow
from gateway.publishing import Publisher

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.core.account import Account
    from gateway.core.allowance import Bound
    from gateway.core.policy import Policy


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
    """The price's; None: the price cannot be read."""
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
    """Of each overage that the customer has now."""
    access = decide_access(account, policy, now)
    states = []
    for limit in access.tier.limits if access.tier is not None and access.tier.overages else ():
        allowance = find_allowance(policy, account, access, limit)
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
    return tuple(states)


class Capping:
    """Sets and removes spend caps."""

    def __init__(self, ledger: Ledger, publisher: Publisher, clock: Clock) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._clock = clock

    def list(self, account: Account, policy: Policy) -> tuple[CapState, ...]:
        """Of each overage that the customer has now."""
        return list_caps(account, policy, self._clock.now())

    async def set(self, account: Account, policy: Policy, order: CapOrder, *, actor: str, because: str) -> bool:
        """Set a cap in the place of the one before, or of policy's.

        Returns:
            Whether the cache knows already.

        Raises:
            NoOverage: There is nothing to cap, or not of that meter.
            SpendCapInvalid: Not an amount, or not of the price's currency.
            LedgerUnavailable: Nothing was changed, or nobody knows; it may be asked again.
        """
        state = find_state(self.list(account, policy), order.meter)
        if not 0 <= order.amount <= MOST_MONEY:
            raise SpendCapInvalid(f"A spend cap is 0 or more, and at most {MOST_MONEY} of the smallest unit.")
        if state.currency is None:
            raise NoOverage("The price of this overage cannot be read, so no amount can be held against it.")
        if order.currency is not None and order.currency.lower() != state.currency:
            raise SpendCapInvalid(f"This overage is billed in {state.currency.upper()}.")
        cap = SpendCap(meter=state.meter, amount=order.amount, currency=state.currency)
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
        raise NoOverage("This account has no overage now: its quota cannot be exceeded.")
    found = [state for state in states if meter in {None, state.meter}]
    if len(found) != 1:
        raise NoOverage(f"Say of which meter: {', '.join(state.meter for state in states)}.")
    return found[0]
