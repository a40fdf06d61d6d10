"""The account alive: its clock, its deliveries, its kept answers. One per process.

Time. Simulated time is real time plus an offset that only grows; other processes read the offset from the
clock file. Three rules keep them in step:

1. Whatever falls due is done before anything else is looked at: every API request, page and control request
   first catches up with the clock, and a ticker does so when nobody asks.
2. An advance does all that falls due up to its target *first*, each thing at its own instant, and writes the
   offset *then*, in the same turn of the event loop. So no other process ever sees a time whose consequences
   have not happened here, and it lags by the milliseconds that one turn takes.
3. Deliveries begin in a later turn. So whoever hears of an event sees a clock that is not before it.

A clock file that exists already is gone on with, so that time does not run back for whoever kept data.
Event signatures carry real time: receivers check them against their own wall clock.
"""

from __future__ import annotations

import asyncio
import math
import struct
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from gateway.clock import write_clock_offset
from gateway.sandbox.delivery.chance import hits
from gateway.sandbox.delivery.deliverer import Deliverer
from gateway.sandbox.delivery.faults import ApiFault, Faults
from gateway.sandbox.delivery.sending import Send
from gateway.sandbox.engine.agenda import note_all
from gateway.sandbox.engine.test_clocks import end_advances
from gateway.sandbox.engine.timeline import next_due_at, reach
from gateway.sandbox.rules import DeliveryRules, Rules
from gateway.sandbox.wire.idempotency import AnswerBook
from gateway.sandbox.world import Cause, World

Answer = TypeVar("Answer")
DEFAULT_KEY = "sk_test_sandbox_loopback_only"
KEY_BEGINS = "sk_test_sandbox"
_TICK_S = 0.5
_OFFSET_BYTES = 8


def check_key(key: str) -> str:
    """The key that clients must send.

    Raises:
        ValueError: it is not a sandbox key; a live key must never be typed into a simulator.
    """
    if key.startswith(("sk_live", "rk_live")):
        raise ValueError("a live Stripe key was given to the sandbox: refused")
    if not key.startswith(KEY_BEGINS):
        raise ValueError(f"the sandbox's key must begin with {KEY_BEGINS}")
    return key


def _read_offset(clock_file: Path) -> float:
    """The offset that an earlier life left.

    Raises:
        ValueError: the file is something else.
    """
    if not clock_file.exists():
        return 0.0
    content = clock_file.read_bytes()
    offset_s: float = struct.unpack("<d", content)[0] if len(content) == _OFFSET_BYTES else math.nan
    if not 0 <= offset_s < math.inf:
        raise ValueError(f"{clock_file.name} is not a clock file")
    return offset_s


class Simulator:
    """One simulated account in real time. Must be made within the event loop that it is to use.

    `run` goes into every id; see `World`. `send` takes the place of HTTP on the way to webhook endpoints.
    `real_now` takes the place of the real clock; signatures do not go by it.
    """

    def __init__(
        self,
        *,
        run: str,
        key: str = DEFAULT_KEY,
        clock_file: Path | None = None,
        delivery_rules: DeliveryRules | None = None,
        send: Send | None = None,
        real_now: Callable[[], float] = time.time,
    ) -> None:
        self._real_now = real_now
        self.key = check_key(key)
        self.offset_s = 0.0 if clock_file is None else _read_offset(clock_file)
        self.answers = AnswerBook()
        self.api_faults: list[ApiFault] = []
        self.world = World(now=int(self.now()), run=run)
        self.deliverer = Deliverer(self.world, delivery_rules or DeliveryRules(), now=self.now, send=send)
        self._clock_file = clock_file
        self._requests = 0
        self._matched = 0
        self._searched_at: deque[float] = deque()
        self._set_offset(self.offset_s)
        self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def aclose(self) -> None:
        """Stop the clock and the deliveries."""
        self._ticker.cancel()
        await asyncio.gather(self._ticker, return_exceptions=True)
        await self.deliverer.aclose()

    def now(self) -> float:
        """Simulated Unix seconds."""
        return self._real_now() + self.offset_s

    def new_request_id(self) -> str:
        """`req_...`, counted."""
        self._requests += 1
        return f"req_{self.world.run}{self._requests:06d}"

    def catch_up(self) -> None:
        """Do what has fallen due, and hand its events to the deliverer."""
        reach(self.world, int(self.now()))
        self._hand_over()

    def carry_out(
        self,
        act: Callable[[World], Answer],
        *,
        cause: Cause | None = None,
        keeps_failures: bool = False,
    ) -> Answer:
        """Run one act on the account as it is now; an act that raises leaves no trace.

        With `keeps_failures`, what happened before the error stays.
        """
        self.catch_up()
        before = self.world.snapshot()
        self.world.cause = cause
        try:
            answer = act(self.world)
            self._advance_as_asked()
        except Exception:
            if not keeps_failures:
                self.world.restore(before)
            raise
        else:
            return answer
        finally:
            self.world.cause = None
            self._hand_over()

    def _advance_as_asked(self) -> None:
        """What an act on a test clock of the API left to do."""
        target, self.world.advance_to = self.world.advance_to, None
        if target is not None:
            self.world.cause = None
            self._move_to(max(self.offset_s, target - self._real_now()))
            end_advances(self.world)

    async def advance(self, seconds: float, *, settle: bool = False, settle_timeout_s: float = 30.0) -> None:
        """Move the clock forward.

        With `settle`, it stops at each instant at which something falls due and waits until its events are
        delivered, so that receivers live through the time in between instead of waking up after it.

        Raises:
            ValueError: `seconds` is negative: time never runs back.
        """
        if seconds < 0:
            raise ValueError("time never runs back")
        target = self.offset_s + seconds
        while settle:
            self.catch_up()
            due = self.next_due_at()
            if due is None or due > self._real_now() + target:
                break
            self._move_to(max(self.offset_s, min(target, due - self._real_now())))
            await self.deliverer.drain(settle_timeout_s)
        self._move_to(max(self.offset_s, target))

    def next_due_at(self) -> float | None:
        """When something happens next, of simulated time: in the account, or on the way to an endpoint."""
        dues = (next_due_at(self.world), self.deliverer.next_due_at)
        return min((due for due in dues if due is not None), default=None)

    def _move_to(self, offset_s: float) -> None:
        reach(self.world, int(self._real_now() + offset_s))
        self._set_offset(offset_s)
        self._hand_over()

    def _set_offset(self, offset_s: float) -> None:
        self.offset_s = offset_s
        if self._clock_file is not None:
            write_clock_offset(self._clock_file, offset_s)

    def set_rules(self, rules: Rules) -> None:
        """Change how the account collects; what is due is computed anew."""
        self.catch_up()
        self.world.rules = rules
        note_all(self.world)

    def may_search(self) -> bool:
        """Whether a search is answered that comes now; if so it is counted."""
        most, now = self.world.rules.searches_per_s, time.monotonic()
        while self._searched_at and self._searched_at[0] <= now - 1:
            self._searched_at.popleft()
        if most and len(self._searched_at) >= most:
            return False
        self._searched_at.append(now)
        return True

    def take_api_fault(self, method: str, path: str) -> ApiFault | None:
        """The fault that this request meets, counted down."""
        for place, fault in enumerate(self.api_faults):
            if fault.matches(method, path):
                self._matched += 1
                if not hits(fault.share, self.deliverer.faults.seed, "api", self._matched):
                    continue
                if fault.times:
                    left = structs.replace(fault, times=fault.times - 1)
                    self.api_faults[place : place + 1] = [left] if left.times else []
                return fault
        return None

    def set_faults(self, faults: Faults) -> None:
        """Change what goes wrong, on the way and in the API; chance begins anew from its seed."""
        self._matched = 0
        self.api_faults = list(faults.api)
        self.deliverer.set_faults(faults)

    def _hand_over(self) -> None:
        self.deliverer.submit(self.world.take_fresh_events())
        self.deliverer.try_due()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self.catch_up()
