"""The cache as the rest of the program sees it: one operation each, or CacheUnavailable.

Charges, settlements and address pacing go through a connection of our own (`cache.lane`): coalesced,
with a hard deadline. Everything else is rare and uses redis-py with an ordinary small pool and
time-outs. Nothing is ever retried by the client library: redis-py would repeat ten times, and a
charge whose outcome is unknown must not happen twice.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from gateway.cache.breaker import Breaker
from gateway.cache.codec import encode_account
from gateway.cache.endpoint import Endpoint
from gateway.cache.errors import CacheUnavailable
from gateway.cache.keyspace import (
    CLOCK_TOLERANCE_MS,
    IDLE_EXPIRY_S,
    OWED_MARKER_S,
    USE_PATTERN,
    acct_key,
    customer_of,
    owed_key,
    use_key,
    why_key,
)
from gateway.cache.lane import Lane
from gateway.cache.scripts import (
    CHARGE_BACK,
    PUBLISH,
    Script,
    charge_answer,
    prepare_charge,
    prepare_pace,
    prepare_settlement,
)
from gateway.cache.values import Receipt, UsageReading
from gateway.cache.wire import fail_call
from gateway.core.charge import Charged, ChargeRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from gateway.cache.wire import Call
    from gateway.core.account import Account
    from gateway.core.charge import ChargeAnswer, ChargeRequest, LimitState, RateClaim

T = TypeVar("T")

_POOL = 4
_OPERATION_S = 1.0
"""Time limit of everything that is not a charge."""
_SCAN_COUNT = 500
_READ_AT_ONCE = 250
_LONGER_LIFE_EVERY_S = 3600.0


class Cache:
    """One Redis-protocol server, 6.2 or later. Belongs to the event loop it is used in."""

    def __init__(
        self,
        url: str,
        *,
        deadline_s: float,
        on_reconnect: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._deadline_s = deadline_s
        self._operation_s = max(_OPERATION_S, deadline_s)
        options: dict[str, Any] = {
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            "client_name": "tiergate",
            "driver_info": None,
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        self._client = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                url,
                max_connections=_POOL,
                timeout=self._operation_s,
                socket_timeout=self._operation_s,
                socket_connect_timeout=self._operation_s,
                **options,
            )
        )
        self._lane = Lane(Endpoint(url, options), deadline_s, self._on_lost)
        self._longer_lives: set[str] = set()
        self._longer_lives_until = 0.0
        self._breaker = Breaker(self._lane.open, on_reconnect)
        self._waiting: set[asyncio.Task[None]] = set()

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
            url: `unix:///path`, `redis://` or `rediss://`, as redis-py reads them.
            deadline_s: How long a charge may take, everything included.
            on_reconnect: Awaited after every connection, the first one too, before any charge
                passes. It may use this cache for anything but charges and settlements. If it
                raises, charges do not pass and it is tried again.

        Raises:
            ValueError: `url` is not such a URL.
        """
        return cls(url, deadline_s=deadline_s, on_reconnect=on_reconnect)

    @property
    def is_ready(self) -> bool:
        """Whether charges pass right now."""
        return self._breaker.is_ready

    @property
    def round_trips(self) -> int:
        """Round trips made for charges and settlements so far; many share one."""
        return self._lane.round_trips

    async def wait_ready(self, timeout_s: float) -> bool:
        """Connect, and wait until charges pass. For start-up.

        Returns:
            Whether they do.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not self._breaker.is_ready:
                    due = asyncio.get_running_loop().time() + timeout_s
                    try:
                        await self._breaker.wait_ready(due, timeout_s)
                    except CacheUnavailable:
                        await asyncio.sleep(0.01)
        except TimeoutError:
            return False
        return True

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
        if self._breaker.is_ready:
            return self._lane.send(command)
        return self._send_when_ready(command)

    def settle_packed(self, command: bytes) -> asyncio.Future[list[int]]:
        """As `settle`, of what `prepare_settlement` packed."""
        if self._breaker.is_ready:
            return self._lane.send(command)
        return self._send_when_ready(command)

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

    async def settle(self, receipt: Receipt, costs: Sequence[int]) -> tuple[int, int]:
        """End a receipt: correct what its charge took from quotas to what it cost, once, and only in the same window.

        Args:
            receipt: Of the charge.
            costs: What the call cost in the end, for each part. No limit is asked.

        Returns:
            Units given back and units charged more, each summed over the quotas.

        Raises:
            CacheUnavailable: No answer in time. It may have happened.
            ValueError: As `prepare_settlement`.
        """
        given, taken = await self.settle_packed(prepare_settlement(receipt, costs))
        return given, taken

    async def refund(self, receipt: Receipt) -> int:
        """Give back to quotas what a receipt charged: a settlement at nothing.

        Returns:
            Units given back, summed over the quotas.

        Raises:
            CacheUnavailable: No answer in time. It may have happened.
        """
        given, _ = await self.settle(receipt, [0] * len(receipt.parts))
        return given

    async def publish(
        self,
        account: Account,
        *,
        counters: Mapping[str, tuple[int, int]],
        seq_floor: int,
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
        keys = (use_key(account.customer_id), acct_key(account.customer_id))

        return bool(await self._run(PUBLISH, keys, arguments))

    async def charge_back(self, receipt: Receipt) -> int | None:
        """Count in quotas what was let in without asking, whether their limits allow it or not: once for each receipt.

        Returns:
            Units counted, summed over the quotas; None if the cache does not know the customer, or may not be
            believed: then nothing was done.

        Raises:
            CacheUnavailable: It may have happened; to repeat it with the same receipt is harmless.
        """
        arguments: list[str | bytes | int] = [OWED_MARKER_S]
        for field, window_starts_at, cost in receipt.parts:
            arguments += (field, cost, window_starts_at)
        keys = (use_key(receipt.customer_id), owed_key(receipt.customer_id, receipt.receipt_id))
        counted = await self._run(CHARGE_BACK, keys, arguments)
        return None if counted < 0 else counted

    async def _run(self, script: Script, keys: tuple[str, str], arguments: list[str | bytes | int]) -> int:
        """A script that is rare, by the ordinary pool."""

        async def run() -> int:
            try:
                return int(await self._client.evalsha(script.sha.decode(), 2, *keys, *arguments))
            except NoScriptError:
                return int(await self._client.eval(script.source.decode(), 2, *keys, *arguments))

        return await self._operate(run)

    async def read_usage(self, customer_id: str) -> UsageReading | None:
        """A customer's counters. Whoever is read is in use, so both keys live longer.

        Returns:
            None if the cache does not know the customer.

        Raises:
            CacheUnavailable: Nothing was read.
        """
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hgetall(use_key(customer_id))
        pipeline.time()
        pipeline.expire(use_key(customer_id), IDLE_EXPIRY_S)
        pipeline.expire(acct_key(customer_id), IDLE_EXPIRY_S)
        fields, instant, *_ = await self._operate(pipeline.execute)
        return _reading(customer_id, fields, instant)

    async def read_usages(self, customer_ids: Iterable[str]) -> list[UsageReading]:
        """The counters of many customers; those whom the cache does not know are left out.

        As with `read_usage`, both their keys live longer; that is asked for once an hour of each, which is enough
        for keys that last for days.

        Raises:
            CacheUnavailable: Not all were read.
        """
        readings: list[UsageReading] = []
        wanted = list(customer_ids)
        for start in range(0, len(wanted), _READ_AT_ONCE):
            batch = wanted[start : start + _READ_AT_ONCE]
            pipeline = self._client.pipeline(transaction=False)
            pipeline.time()
            for customer_id in batch:
                pipeline.hgetall(use_key(customer_id))
            for customer_id in self._due_for_longer_life(batch):
                pipeline.expire(use_key(customer_id), IDLE_EXPIRY_S)
                pipeline.expire(acct_key(customer_id), IDLE_EXPIRY_S)
            instant, *hashes = await self._operate(pipeline.execute)
            for customer_id, fields in zip(batch, hashes, strict=False):
                reading = _reading(customer_id, fields, instant)
                if reading is not None:
                    readings.append(reading)
        return readings

    def _due_for_longer_life(self, customer_ids: list[str]) -> list[str]:
        now = asyncio.get_running_loop().time()
        if now >= self._longer_lives_until:
            self._longer_lives = set()
            self._longer_lives_until = now + _LONGER_LIFE_EVERY_S
        due = [customer_id for customer_id in customer_ids if customer_id not in self._longer_lives]
        self._longer_lives.update(due)
        return due

    async def scan_usage(self) -> AsyncIterator[UsageReading]:
        """Every customer in the cache, one at a time, some perhaps twice. Does not keep anyone alive.

        Raises:
            CacheUnavailable: The scan is incomplete.
        """
        cursor = 0
        while True:
            cursor, keys = await self._operate(partial(self._client.scan, cursor, match=USE_PATTERN, count=_SCAN_COUNT))
            pipeline = self._client.pipeline(transaction=False)
            pipeline.time()
            for key in keys:
                pipeline.hgetall(key)
            instant, *hashes = await self._operate(pipeline.execute)
            for key, fields in zip(keys, hashes, strict=True):
                reading = _reading(customer_of(cast("bytes", key)), fields, instant)
                if reading is not None:
                    yield reading
            if cursor == 0:
                return

    async def put_decisions(self, boot: str, page: str, blob: bytes, ttl_s: int) -> None:
        """Store one page of a worker's recent decisions.

        Raises:
            CacheUnavailable: It may not be stored.
        """
        await self._operate(partial(self._client.set, why_key(boot, page), blob, ex=ttl_s))

    async def get_decisions(self, boot: str, page: str) -> bytes | None:
        """The page that `put_decisions` stored, or None.

        Raises:
            CacheUnavailable: Nothing was read.
        """
        blob = await self._operate(partial(self._client.get, why_key(boot, page)))
        return cast("bytes | None", blob)

    async def ping(self) -> float:
        """Milliseconds of one round trip. Also makes a cache that is not connected try to connect.

        Raises:
            CacheUnavailable: It does not answer.
        """
        started = time.perf_counter()
        await self._operate(self._client.ping)
        return (time.perf_counter() - started) * 1000

    async def aclose(self) -> None:
        """Fail what is under way, and close every connection."""
        await self._breaker.aclose()
        await self._lane.aclose()
        await asyncio.gather(*self._waiting)
        await self._client.aclose()
        await self._client.connection_pool.aclose()

    def _on_lost(self, error: BaseException, hangs: bool, unsent: list[Call]) -> None:  # noqa: FBT001 - the signature that the lane calls
        self._breaker.trip(error, hangs)
        for call in unsent:
            self._wait(call)

    def _send_when_ready(self, command: bytes) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        call = (command, loop.create_future(), loop.time() + self._deadline_s, False)
        try:
            self._breaker.check_reachable()
        except CacheUnavailable as refusal:
            fail_call(call, refusal.reason)
        else:
            self._wait(call)
        return call[1]

    def _wait(self, call: Call) -> None:
        task = asyncio.get_running_loop().create_task(self._send_later(call))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _send_later(self, call: Call) -> None:
        try:
            await self._breaker.wait_ready(call[2], self._deadline_s)
        except CacheUnavailable as refusal:
            fail_call(call, refusal.reason)
        else:
            self._lane.send_held(call)

    async def _operate(self, operation: Callable[[], Awaitable[T]]) -> T:
        self._breaker.check_reachable()
        try:
            async with asyncio.timeout(self._operation_s):
                return await operation()
        except (RedisError, OSError, TimeoutError) as error:
            reason, was_refused = str(error) or type(error).__name__, isinstance(error, ResponseError)
            raise CacheUnavailable(reason=reason, may_have_happened=not was_refused) from error


def _reading(customer_id: str, fields: dict[bytes, bytes], instant: tuple[int, int]) -> UsageReading | None:
    if b"v" not in fields:
        return None
    seconds, microseconds = instant
    now_ms, charged_ms = seconds * 1000 + microseconds // 1000, int(fields.get(b"t", 0))
    return UsageReading(
        customer_id=customer_id,
        version=int(fields[b"v"]),
        seq=int(fields.get(b"s", 0)),
        now_ms=now_ms if charged_ms > now_ms + CLOCK_TOLERANCE_MS else max(now_ms, charged_ms),
        quotas=_counters(fields, b"q:"),
        ended=_counters(fields, b"p:"),
    )


def _counters(fields: dict[bytes, bytes], prefix: bytes) -> dict[str, tuple[int, int]]:
    """Under the names of their quotas, whichever window they are of."""
    counters = {}
    for field, value in fields.items():
        if field.startswith(prefix):
            window_starts_at, _, used = value.partition(b"|")
            counters[f"q:{field[len(prefix) :].decode()}"] = (int(window_starts_at), int(used))
    return counters
