"""The accounts that one worker holds, and how they are kept up with the cache and the ledger.

A snapshot may be behind: what is decided on one counts only when the cache, or in an outage the ledger, has
confirmed it. One that is known to be behind is never held on to. An account that changes ends its leases.
"""

from __future__ import annotations

from collections.abc import Iterable

from cachetools import LRUCache

from gateway.admission.cache_time import CacheTime
from gateway.cache import Cache, CacheUnavailable, decode_account
from gateway.core.account import Account
from gateway.core.charge import AccountStale, Charged, ChargeRequest
from gateway.core.errors import CapacityReduced, InvalidKey, LedgerUnavailable
from gateway.leasing import Leasing
from gateway.outages import Held
from gateway.publishing import Publisher

ROUNDS = 6
"""How often something is done anew because the account, the window or the cache changed under it."""


class Snapshots:
    """The accounts that this worker holds.

    Args:
        cache: Says whether one is current.
        publisher: Loads those that the cache does not have.
        time: Learns from each answer of the cache.
        entries: How many are held; the least recently used is the first to go.
        leasing: Told of each that changes. None: nothing is leased.
    """

    def __init__(
        self, cache: Cache, publisher: Publisher, time: CacheTime, entries: int, leasing: Leasing | None
    ) -> None:
        self._cache = cache
        self._publisher = publisher
        self._time = time
        self._accounts: LRUCache[str, Held] = LRUCache(entries)
        self._leasing = leasing

    def __len__(self) -> int:
        """How many are held."""
        return len(self._accounts)

    def find(self, customer_id: str) -> Held | None:
        """What is held of a customer; nobody is asked."""
        return self._accounts.get(customer_id)

    def find_account(self, customer_id: str) -> Account | None:
        """The account that is held of a customer; nobody is asked."""
        held = self._accounts.get(customer_id)
        return None if held is None else held.account

    def hold(self, account: Account, now: float) -> None:
        """Hold an account that is current, in place of what was held of the customer."""
        if self._leasing is not None:
            self._leasing.drop(account.customer_id)
        self._accounts[account.customer_id] = Held(account, now)

    def confirm(self, account: Account, now: float) -> None:
        """The cache has just decided on this account, so it is current."""
        held = self._accounts.get(account.customer_id)
        if held is not None and held.account is account:
            held.confirmed_at = now

    async def take(self, customer_id: str, stale: AccountStale, used: Account | None, now: float) -> Account:
        """Go on with the cache's account, or with the ledger's where the cache's cannot be believed.

        It is not readable, it is not the one its counters belong to, it is older than one that this
        worker has seen, or it is too large to be handed back.

        Args:
            customer_id: Whose.
            stale: What the cache handed back.
            used: The account that it was not content with.
            now: Unix seconds.

        Raises:
            InvalidKey, CacheUnavailable: As `load`.
        """
        if not stale.account:  # too large for the connection on which everybody is charged
            return await self.load(customer_id, now)
        try:
            account = decode_account(stale.account)
        except CacheUnavailable:
            account = None
        if account is None or account.version != stale.version:
            self._accounts.pop(customer_id, None)  # there is a newer one, whoever can read it
            return await self.load(customer_id, now, replaces=True)
        if used is not None and account.version < used.version:
            return await self.load(customer_id, now)
        self.hold(account, now)
        return account

    async def load(self, customer_id: str, now: float, *, replaces: bool = False) -> Account:
        """Take the ledger's account, for this worker and for the cache.

        Args:
            customer_id: Whose.
            now: Unix seconds.
            replaces: What the cache has of the customer cannot be right.

        Raises:
            InvalidKey: There is no such customer.
            CacheUnavailable: The ledger or the cache cannot answer; nothing was charged.
        """
        try:
            account = await self._publisher.load(customer_id, replaces=replaces)
        except LedgerUnavailable as error:
            raise CacheUnavailable("The account could not be loaded.", reason=str(error)) from error
        except CacheUnavailable as error:
            raise CacheUnavailable(reason=error.reason) from error  # an account may be there now; nothing was charged
        if account is None:
            self._accounts.pop(customer_id, None)
            raise InvalidKey
        self.hold(account, now)
        return account

    async def load_current(self, customer_id: str, now: float) -> Account | None:
        """The account as of now: what is held if the cache says that it is current. None: no such customer.

        Raises:
            CapacityReduced: The cache or the ledger cannot answer.
        """
        account = self.find_account(customer_id)
        for _ in range(ROUNDS):
            version = account.version if account is not None else 0
            answer = await self._cache.charge(
                ChargeRequest(customer_id=customer_id, version=version, claims=(), now_ms=self._time.now_ms())
            )
            self._time.follow(answer.now_ms)
            match answer:
                case Charged():
                    return account
                case AccountStale():
                    account = await self.take(customer_id, answer, account, now)
                case _:
                    try:
                        account = await self.load(customer_id, now)
                    except InvalidKey:
                        return None
        raise CapacityReduced("The account kept changing while it was read.")

    async def follow_ledger(self, asked: Iterable[str], now: float) -> None:
        """While the cache cannot decide, take what the ledger knows of those who call.

        Args:
            asked: Ids of customers; those of whom nothing is held are passed over.
            now: Unix seconds. Whoever has not changed counts as confirmed then.

        Raises:
            LedgerUnavailable: Accounts grow old.
        """
        known = {name: held for name in asked if (held := self._accounts.get(name)) is not None}
        if not known:
            return
        newer = await self._publisher.load_newer({name: held.account.version for name, held in known.items()})
        for held in known.values():
            held.confirmed_at = max(held.confirmed_at, now)
        for account in newer:
            current = self._accounts.get(account.customer_id)
            if current is None or current.account.version < account.version:
                self.hold(account, now)
