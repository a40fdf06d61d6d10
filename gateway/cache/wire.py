"""One connection to the cache server: commands out, replies in, matched by their order.

Laws:

- every reply belongs to the oldest command that has none; one that nobody waits for, one that
  cannot be read and one that says this is not the server to write to end the connection;
- nothing is sent twice, except after NOSCRIPT, which means that nothing was done, and what another
  server of a cluster is sent instead;
- once ended, it takes and gives nothing more: whoever still waits is told, without a reply.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import hiredis
import structlog

from gateway.cache.errors import CacheUnavailable
from gateway.cache.scripts import SCRIPTS, load_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Call: TypeAlias = tuple[bytes, "asyncio.Future[Any]", float, bool]
"""A packed command, its reply, the loop time by which the reply is due, and whether NOSCRIPT is an
answer to it. A plain tuple: one is made per request."""

_LOADS = tuple(load_command(script) for script in SCRIPTS)

_EXACTLY = (b"9007199254740991", hiredis.pack_command(("EVAL", "return string.format('%d', 9007199254740991)", 0)))  # type: ignore[arg-type]
"""What a Lua with 64-bit integers makes of 2^53 - 1, and how to ask for it."""

_NEVER = float("inf")
"""Due time of what is said while the connection is opened: that has a time limit of its own."""

_ENDING = ("READONLY", "LOADING", "MASTERDOWN", "NOAUTH", "WRONGPASS", "ERR max number of clients")
"""Beginnings of answers after which another connection may find a server that works."""

_ELSEWHERE = ("MOVED ", "ASK ", "TRYAGAIN", "CLUSTERDOWN")
"""Beginnings of answers of a cluster's server to what it has not done."""

_READONLY_INSIDE = "-READONLY "
"""How Redis before 7 tells it of a command in a script."""

_ENDED = getattr(select, "POLLRDHUP", select.POLLIN)
"""Where the end alone cannot be asked for, anything to read is taken for it: nothing was asked."""

log = structlog.get_logger(__name__)


class Owner(Protocol):
    """Who uses a wire."""

    round_trips: int
    """Raised here when calls are sent once more."""
    elsewhere: Callable[[Call, str], bool]
    """Sees to a call that this server has not done because it is not the one, if it can."""

    def heard(self, wire: Wire) -> None:
        """Replies came, and were handed out."""
        ...

    def lost(self, wire: Wire, error: BaseException) -> None:
        """It has ended, and not because the owner said so."""
        ...


class Wire(asyncio.Protocol):
    """A protocol instance on one transport."""

    __slots__ = ("_owner", "_probe", "_reader", "_transport", "_unknown", "closed", "flying", "is_ended", "reads")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._probe: select.poll | None = None
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # set before anything else is called
        self._unknown: list[Call] = []
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the transport has closed."""
        self.flying: deque[Call] = deque()
        """Calls that were sent and not answered, oldest first."""
        self.is_ended = False
        """Whether nothing more comes."""
        self.reads = 0
        """How often bytes came."""

    # What the owner calls.

    async def greet(self, greeting: Sequence[bytes]) -> list[Any]:
        """Say who we are, load the scripts, and see whether the server counts as we do.

        Returns:
            The answers to `greeting`.

        Raises:
            ConnectionError: It refused, or does not.
        """
        loop = asyncio.get_running_loop()
        commands = (*greeting, *_LOADS, _EXACTLY[1])
        calls: list[Call] = [(command, loop.create_future(), _NEVER, True) for command in commands]
        self.send(commands, calls)
        try:
            replies = await asyncio.gather(*(call[1] for call in calls))
        except CacheUnavailable as refusal:
            raise ConnectionRefusedError(refusal.reason) from None
        if replies[-1] != _EXACTLY[0]:
            raise ConnectionRefusedError("the server's scripts cannot count to 2^53: it is not a 64-bit program")
        return replies[: len(greeting)]

    def send(self, commands: Sequence[bytes], calls: Iterable[Call]) -> None:
        """One write. `calls` are those of `commands`, in the same order."""
        self.flying.extend(calls)
        self._transport.write(b"".join(commands))

    def has_closed(self) -> bool:
        """Whether the server has closed it, also if the event loop has not come to see that yet."""
        return self.is_ended or (self._probe is not None and bool(self._probe.poll(0)))

    def end(self, reason: str) -> None:
        """Close it at once, and fail every call."""
        if self.is_ended:
            return
        self.is_ended = True
        self._transport.abort()
        for call in self._unknown:
            fail_call(call, reason)
        for call in self.flying:
            fail_call(call, reason, was_sent=True)
        self._unknown.clear()
        self.flying.clear()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is up."""
        self._transport = cast("asyncio.Transport", transport)
        line = transport.get_extra_info("socket")
        if line is not None and hasattr(select, "poll"):
            self._probe = select.poll()
            self._probe.register(line.fileno(), _ENDED)

    def data_received(self, data: bytes) -> None:
        """Replies, or parts of some."""
        if self.is_ended:
            return
        self.reads += 1
        try:
            self._reader.feed(data)
            self._hand_out()
        except (hiredis.HiredisError, ConnectionError) as error:
            self._fail(error)
            return
        if self._unknown:
            self._send_with_scripts()
        self._owner.heard(self)

    def eof_received(self) -> None:
        """The server closes."""
        self._fail(ConnectionResetError("the server closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport has closed, for whatever reason."""
        self._fail(exc or ConnectionResetError("the connection is closed"))
        if not self.closed.done():
            self.closed.set_result(None)

    def _hand_out(self) -> None:
        """Give every complete reply to its call; put aside the calls whose script is not known."""
        gets, flying = self._reader.gets, self.flying
        while (answer := gets()) is not False:
            if not flying:
                raise ConnectionError("an answer to nothing")
            call = flying.popleft()
            if type(answer) is hiredis.ReplyError:
                self._refuse(call, str(answer))
            elif not call[1].done():
                call[1].set_result(answer)

    def _refuse(self, call: Call, text: str) -> None:
        if text.startswith("NOSCRIPT") and not call[3]:
            self._unknown.append(call)
            return
        if text.startswith(_ELSEWHERE) and self._owner.elsewhere(call, text):
            return
        fail_call(call, text)
        if text.startswith(_ENDING) or _READONLY_INSIDE in text:
            raise ConnectionError(text)
        if call[2] != _NEVER:
            log.error("cache refused a script", reason=text)

    def _send_with_scripts(self) -> None:
        """The server has forgotten the scripts: load them, and send once more what it did not know."""
        loop, unknown = asyncio.get_running_loop(), self._unknown
        again = [(command, reply, due, True) for command, reply, due, _ in unknown if not reply.done()]
        unknown.clear()
        if again:
            loads: list[Call] = [(load, loop.create_future(), again[0][2], True) for load in _LOADS]
            for _, reply, *_ in loads:
                reply.add_done_callback(_ignore)
            self.send((*_LOADS, *(call[0] for call in again)), (*loads, *again))
            self._owner.round_trips += 1

    def _fail(self, error: BaseException) -> None:
        if not self.is_ended:
            self.end(str(error) or type(error).__name__)
            self._owner.lost(self, error)


def fail_call(call: Call, reason: str, *, was_sent: bool = False) -> None:
    """Tell the caller, if it has not gone. `was_sent`: it may have been done all the same."""
    if not call[1].done():
        call[1].set_exception(CacheUnavailable(reason=reason, may_have_happened=was_sent))


def _ignore(load: asyncio.Future[Any]) -> None:
    """If a script was not loaded, the call that needs it says so."""
    if not load.cancelled():
        load.exception()
