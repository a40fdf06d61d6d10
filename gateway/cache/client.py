"""The cache as the rest of the program sees it: one operation each, or CacheUnavailable.

Charges, settlements and address pacing go through a connection of our own (`cache.lane`): coalesced,
with a hard deadline. Everything else is rare and uses redis-py (`cache.library`). Nothing is ever
retried by the client library: a charge whose outcome is unknown must not happen twice. Which
server is asked is decided elsewhere (`cache.servers`): the operations here name a key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from gateway.cache.answers import charge_answer
from gateway.cache.codec import encode_account
from gateway.cache.counters import Counters
from gateway.cache.errors import CacheUnavailable
from gateway.cache.keyspace import (
    IDLE_EXPIRY_S,
    OWED_MARKER_S,
    acct_key,
    owed_key,
    use_key,
    why_key,
)
from gateway.cache.news import News
from gateway.cache.probes import Probes
from gateway.cache.scripts import (
    CHARGE_BACK,
    PUBLISH,
    Script,
    prepare_charge,
    prepare_pace,
)
from gateway.cache.servers import open_servers
from gateway.cache.values import Receipt
from gateway.core.charge import Charged, ChargeRefused, ChargeRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.core.account import Account
    from gateway.core.charge import ChargeAnswer, LimitState, RateClaim

_NONE: Mapping[str, tuple[int, int]] = MappingProxyType({})


class Cache(Counters, Probes):
    """A Redis-protocol server, 6.2 or later, or several of them. Belongs to the event loop it is used in."""

    def __init__(
        self,
        url: str,
        *,
        deadline_s: float,
        on_reconnect: Callable[[], Awaitable[None]] | None,
    ) -> None:
        super().__init__(open_servers(url, deadline_s, on_reconnect))

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        deadline_s: float = 0.05,
        on_reconnect: Callable[[], Awaitable[None]] | None = None,
    ) -> Cache:
        """A cache at `url`. It is connected by the first use, so a server that is down fails nothing here.

        Args:
            url: `unix:///path`, `redis://` or `rediss://`, as redis-py reads them, or one of several
                hosts (`core.cache_url`).
            deadline_s: How long a charge may take, everything included.
            on_reconnect: Awaited after every connection, the first one too, before any charge
                passes. It may use this cache for anything but charges and settlements. If it
                raises, charges do not pass and it is tried again.

        Raises:
            ValueError: `url` is not such a URL.
        """
        return cls(url, deadline_s=deadline_s, on_reconnect=on_reconnect)

    @property
    def round_trips(self) -> int:
        """Round trips made for charges and settlements so far; many share one."""
        return self._servers.round_trips

    async def charge(self, request: ChargeRequest) -> ChargeAnswer:
        """Spend on every limit of the request at once, or on none.

        A caller that is cancelled while it waits may have been charged: no receipt, no refund.

        Raises:
            CacheUnavailable: No answer in time. The charge may have happened; it is not repeated.
            ValueError: A claim that cannot be counted exactly.
        """
        return charge_answer(request.claims, await self.charge_packed(prepare_charge(request)))

    def charge_packed(self, command: bytes) -> asyncio.Future[list[Any]]:
        """As `charge`, with as little work as there can be: the same bytes may be charged again and again.

        Args:
            command: From `prepare_charge`, at any time before.

        Returns:
            For `charge_answer`. Fails with CacheUnavailable, as `charge`; cancel it when nobody waits any more.
        """
        return self._servers.send(command)

    def settle_packed(self, command: bytes) -> asyncio.Future[list[int]]:
        """End a receipt, once: correct what its charge took from quotas to what it cost (`prepare_settlement`).

        In the window that was charged: the open one, or the one before. What an account was charged that the cache
        does not know, or does not believe, stays as it is; and nothing is given back for what a lost cache counted.

        Returns:
            Units given back and units charged more, each summed over the quotas, and units that no count took: -1 if
            nothing was done, because the cache does not know the customer, or does not believe what it has. Fails with
            CacheUnavailable: no answer in time, and it may have happened.
        """
        return self._servers.send(command)

    def send_packed(self, command: bytes) -> asyncio.Future[int]:
        """A release or a renewal of places among the calls in progress, packed; sent as a charge is."""
        return self._servers.send(command)

    async def charge_address(self, address: str, rate: RateClaim, now_ms: int = 0) -> LimitState:
        """Pace a caller who is known by network address only.

        Args:
            address: An IP address or prefix, as text.
            rate: One bucket; addresses share nothing.
            now_ms: 0: the server's own clock.

        Raises:
            CacheUnavailable, ValueError: As `charge`.
        """
        answer = charge_answer((rate,), await self.charge_packed(prepare_pace(address, rate, now_ms)))
        return cast("Charged | ChargeRefused", answer).states[0]

    async def publish(
        self,
        account: Account,
        *,
        counters: Mapping[str, tuple[int, int]],
        seq_floor: int,
        ended: Mapping[str, tuple[int, int]] = _NONE,
        expires_s: int = IDLE_EXPIRY_S,
        replaces: bool = False,
    ) -> bool:
        """Store an account, unless one as new or newer is stored since the cache's data last went back.

        Args:
            account: From the ledger.
            counters: The ledger's quota counters, field -> window start, units used. Held against
                the cache's only if the cache has lost this customer, or its data may be older
                than it was: then each counter becomes the one that is ahead.
            seq_floor: Highest sequence number that the ledger has seen of this customer.
            ended: As `counters`, of the windows before these.
            expires_s: Both keys live this much longer, also if nothing was written.
            replaces: What is stored cannot be right: write in any case.

        Returns:
            Whether it was written.

        Raises:
            CacheUnavailable: It may have been written; publishing again is harmless.
        """
        arguments: list[str | bytes | int] = [
            account.version,
            encode_account(account),
            expires_s,
            seq_floor,
            int(replaces),
        ]
        for field, (window_starts_at, used) in counters.items():
            arguments += (field, f"{window_starts_at}|{used}")
        for field, (window_starts_at, used) in ended.items():
            arguments += (f"p{field[1:]}", f"{window_starts_at}|{used}")
        keys = (use_key(account.customer_id), acct_key(account.customer_id))

        return bool(await self._run(PUBLISH, keys, arguments))

    async def disbelieve(self, customer_id: str) -> None:
        """Have what is stored of a customer count as not here until it is published again. No count is lost.

        Raises:
            CacheUnavailable: It may still be believed.
        """
        key = use_key(customer_id)

        async def disbelieve(client: Redis) -> int:
            return await client.hdel(key, "e")

        await self._servers.run(key, disbelieve)

    async def charge_back(self, receipt: Receipt) -> tuple[int, int] | None:
        """Count in quotas what was let in without asking, whether their limits allow it or not: once for each receipt.

        In the window in which a charge of that time would have counted it, or the one before.

        Returns:
            Units counted, summed over the quotas, and what `Receipt.seq` is of them; None if the cache does not know
            the customer, or may not be believed: then nothing was done.

        Raises:
            CacheUnavailable: It may have happened; to repeat it with the same receipt is harmless.
        """
        arguments: list[str | bytes | int] = [OWED_MARKER_S, receipt.charged_at]
        for field, window_starts_at, cost in receipt.parts:
            arguments += (field, cost, window_starts_at)
        keys = (use_key(receipt.customer_id), owed_key(receipt.customer_id, receipt.receipt_id))
        counted, seq = await self._run(CHARGE_BACK, keys, arguments)
        return None if counted < 0 else (counted, seq)

    async def _run(self, script: Script, keys: tuple[str, str], arguments: list[str | bytes | int]) -> Any:
        """A script that is rare, by the ordinary pool."""

        async def run(client: Redis) -> Any:
            try:
                return await client.evalsha(script.sha.decode(), 2, *keys, *arguments)
            except NoScriptError:
                return await client.eval(script.source.decode(), 2, *keys, *arguments)

        return await self._servers.run(keys[0], run)

    async def put_decisions(self, boot: str, pages: Mapping[str, bytes], ttl_s: int) -> None:
        """Store pages of a worker's recent decisions, in their order and in one round trip.

        Raises:
            CacheUnavailable: Some of them, or none, may be stored.
        """

        async def put(client: Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            for page, blob in pages.items():
                pipeline.set(why_key(boot, page), blob, ex=ttl_s)
            await pipeline.execute()

        await self._servers.run(why_key(boot, ""), put)

    async def get_decisions(self, boot: str, page: str) -> bytes | None:
        """A page that `put_decisions` stored, or None.

        Raises:
            CacheUnavailable: Nothing was read.
        """
        key = why_key(boot, page)
        return cast("bytes | None", await self._servers.run(key, lambda client: client.get(key)))

    def news(self, changed: Callable[[str], None], informed: Callable[[bool], None]) -> News:
        """What other processes publish; run it. Arguments as `News`."""
        return News(self._servers.masters, changed, informed)

    async def find_trouble(self) -> str:
        """Why charges do not pass, for operators; empty if they do."""
        try:
            await self.charge(ChargeRequest(customer_id="nobody", version=0, claims=()))
        except CacheUnavailable as refusal:
            return refusal.reason or str(refusal)
        return ""

    async def aclose(self) -> None:
        """Fail what is under way, and close every connection."""
        await self._servers.aclose()
