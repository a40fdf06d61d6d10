"""Which thresholds a settlement shows to be reached, and recording them. Nothing here is on a call's way.

What cannot be news is dismissed by one comparison a counter: after each look, a worker remembers for
every counter of the customer at how many units something may have to be told next.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from cachetools import LRUCache

from gateway.core.access import decide_access, in_force
from gateway.core.alerts import CreditAlert, QuotaAlert, due_percent, next_units
from gateway.core.credits import grant_field, is_grant_field
from gateway.core.limits import Quota, limit_field
from gateway.usage import Reading, list_usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.admission import PolicySource
    from gateway.cache import UsageReading
    from gateway.clock import Clock
    from gateway.core.access_value import Access
    from gateway.core.account import Account, Grant
    from gateway.core.alerts import Alert
    from gateway.core.policy import Policy
    from gateway.ledger import Ledger
    from gateway.usage import LimitUsage

log = structlog.get_logger(__name__)

_REMEMBERED: Final = 50_000
_NOTHING_KNOWN: Final = -1


class Accounts(Protocol):
    """Accounts that a worker has in memory."""

    def known_account(self, customer_id: str) -> Account | None:
        """The worker's own snapshot, which may be behind by some seconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quiet:
    """Until when, and up to what use, there is nothing to tell of a customer."""

    policy: Policy
    version: int
    until: float
    below: dict[str, float]
    """By counter: units at which to look again."""


class Noticing:
    """Looks at settlements. `channels`: the ways on which alerts are sent; without any, nothing is looked at."""

    def __init__(
        self, *, ledger: Ledger, accounts: Accounts, policy: PolicySource, clock: Clock, channels: Sequence[str]
    ) -> None:
        self._ledger = ledger
        self._accounts = accounts
        self._policy = policy
        self._clock = clock
        self._channels = channels
        self._floor_of: Policy | None = None
        self._floor: dict[str, int] = {}
        self._quiet: LRUCache[str, _Quiet] = LRUCache(_REMEMBERED)

    async def look(self, readings: Sequence[UsageReading]) -> None:
        """Record what is reached by these readings and was not told.

        Raises:
            LedgerUnavailable: Some may not be recorded. Looking again is harmless.
        """
        policy = self._policy.current
        if not self._channels or not policy.alerts:
            return
        for reading in readings:
            if not self._is_quiet(reading, policy):
                await self._look_at(reading, policy)

    def _is_quiet(self, reading: UsageReading, policy: Policy) -> bool:
        quiet = self._quiet.get(reading.customer_id)
        if quiet is None or quiet.policy is not policy or quiet.version != reading.version:
            return False
        if self._now(reading) >= quiet.until:
            return False
        return all(used < quiet.below.get(field, _NOTHING_KNOWN) for field, (_, used) in reading.quotas.items())

    async def _look_at(self, reading: UsageReading, policy: Policy) -> None:
        customer_id, now = reading.customer_id, self._now(reading)
        account = self._accounts.known_account(customer_id)
        if account is None and self._is_below_all(reading, policy):
            return
        if account is None or account.version != reading.version:
            account = await self._ledger.load_account(customer_id)
        if account is None:
            return
        account = in_force(account, policy, now)
        access = decide_access(account, policy, now)
        limits = list_usage(account, access, Reading(counters=reading.quotas, now=now, source="cache"))
        quotas = [limit for limit in limits if limit.kind == "quota"]
        below: dict[str, float] = dict.fromkeys(reading.quotas, inf)
        for limit in quotas:
            await self._tell(limit, account, access, policy, now)
            ahead = next_units(used=limit.used or 0, limit=limit.limit, percents=policy.alerts)
            counter = limit.counter or ""
            below[counter] = min(below.get(counter, inf), inf if ahead is None else ahead)
        for grant in await self._grants_of(reading, account):
            _, used = reading.quotas[grant_field(grant.grant_id)]
            await self._tell_of_credits(grant, used, account, access, policy, now)
            ahead = next_units(used=used, limit=grant.units, percents=policy.alerts)
            below[grant_field(grant.grant_id)] = inf if ahead is None else ahead
        ends = [float(limit.window_ends_at) for limit in quotas if limit.window_ends_at is not None]
        ends += [float(access.decided_until)] if access.decided_until is not None else []
        self._quiet[customer_id] = _Quiet(
            policy=policy, version=reading.version, until=min(ends, default=inf), below=below
        )

    async def _grants_of(self, reading: UsageReading, account: Account) -> list[Grant]:
        """The grants of which something is used; also those that have left the account because all of it is."""
        fields = {field for field in reading.quotas if is_grant_field(field)}
        grants = {grant_field(grant.grant_id): grant for grant in account.grants}
        if fields - grants.keys():
            rows = await self._ledger.list_grants(account.customer_id, include_ended=True)
            grants |= {grant_field(row.grant.grant_id): row.grant for row in rows if row.ended in {None, "spent"}}
        return [grants[field] for field in sorted(fields & grants.keys())]

    def _is_below_all(self, reading: UsageReading, policy: Policy) -> bool:
        """Whether nobody could have reached anything with this use, in whatever tier.

        A start looks at every customer of the cache; most need not be loaded from the ledger.
        """
        if self._floor_of is not policy:
            self._floor_of, self._floor = policy, _floor(policy)
        return all(used < self._floor.get(field, _NOTHING_KNOWN) for field, (_, used) in reading.quotas.items())

    async def _tell(self, limit: LimitUsage, account: Account, access: Access, policy: Policy, now: float) -> None:
        used, starts_at, ends_at = limit.used or 0, limit.window_starts_at, limit.window_ends_at
        if starts_at is None or ends_at is None or limit.counter is None:
            return
        if due_percent(used=used, limit=limit.limit, percents=policy.alerts, told=()) is None:
            return
        told = await self._ledger.list_told(account.customer_id, limit.counter, starts_at)
        percent = due_percent(used=used, limit=limit.limit, percents=policy.alerts, told=told)
        if percent is None:
            return
        alert = QuotaAlert(
            customer_id=account.customer_id,
            user_id=account.user_id,
            tier=access.tier.name if access.tier is not None else "",
            limit_name=limit.name,
            counter=limit.counter,
            meter=limit.meter,
            key_id=limit.key_id,
            used=used,
            limit=limit.limit,
            percent=percent,
            window_starts_at=starts_at,
            window_ends_at=ends_at,
            at=int(now),
        )
        await self._record(alert, "quota threshold reached", limit=limit.name)

    async def _tell_of_credits(
        self, grant: Grant, used: int, account: Account, access: Access, policy: Policy, now: float
    ) -> None:
        if due_percent(used=used, limit=grant.units, percents=policy.alerts, told=()) is None:
            return
        told = await self._ledger.list_told(account.customer_id, grant_field(grant.grant_id), grant.granted_at)
        percent = due_percent(used=used, limit=grant.units, percents=policy.alerts, told=told)
        if percent is None:
            return
        alert = CreditAlert(
            customer_id=account.customer_id,
            user_id=account.user_id,
            tier=access.tier.name if access.tier is not None else "",
            grant_id=grant.grant_id,
            meter=grant.meter,
            used=used,
            units=grant.units,
            percent=percent,
            granted_at=grant.granted_at,
            expires_at=grant.expires_at,
            at=int(now),
        )
        await self._record(alert, "credits threshold reached", grant_id=grant.grant_id)

    async def _record(self, alert: Alert, said: str, **of: str) -> None:
        if await self._ledger.record_alert(alert, self._channels):
            log.info(said, alert_id=alert.alert_id, customer_id=alert.customer_id, percent=alert.percent, **of)

    def _now(self, reading: UsageReading) -> float:
        """The instant that rules the reading's windows: the cache's, unless the clock is simulated."""
        return self._clock.now() if self._clock.cache_now_ms() else reading.now_ms / 1000


def _floor(policy: Policy) -> dict[str, int]:
    """By counter: the fewest units at which a threshold is reached in any tier. Keys' own limits are not in it."""
    floor: dict[str, int] = {}
    for tier in policy.tiers.values():
        for limit in tier.limits:
            if isinstance(limit, Quota):
                units = next_units(used=0, limit=limit.units, percents=policy.alerts)
                counter = limit_field(limit)
                if units is not None:
                    floor[counter] = min(floor.get(counter, units), units)
    return floor
