"""The parts that a command works with, opened for its duration.

A command needs the ledger. The cache may be away: then a change is in the ledger only, and
is published by the next gateway that reaches the cache, before it serves. An invalid policy
keeps nobody from revoking a key: it is read by those commands only that need it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.cache import Cache, CacheServer, CacheUnavailable
from gateway.cli.printing import note, policy_check_words
from gateway.clock import Clock, SimulatedClock, SystemClock
from gateway.core.errors import StripeAccountWrong
from gateway.core.keys import KeyCodec
from gateway.installation import stripe_change
from gateway.ledger import Ledger, LedgerConflict, LedgerUrlInvalid
from gateway.policyfiles import PolicyInvalid, load_policy
from gateway.provisioning import Provisioning
from gateway.publishing import Publisher
from gateway.settings import find_policy_dir
from gateway.telemetry import configure_logging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from gateway.cli.options import Who
    from gateway.core.policy import Policy
    from gateway.ledger import CustomerRow
    from gateway.settings import Settings

T = TypeVar("T")

ACTOR = "operator"
"""Who the audit log names for what is done on the command line."""

_CACHE_DEADLINE_S = 2.0
"""Longer than a request may wait: here a person waits, for one change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a command may use."""

    settings: Settings
    clock: Clock
    ledger: Ledger
    cache: Cache
    has_cache: bool
    """Whether the cache answered when the command began."""
    publisher: Publisher
    provisioning: Provisioning

    @property
    def now(self) -> int:
        """Unix seconds."""
        return int(self.clock.now())

    async def find_customer(self, who: Who) -> CustomerRow:
        """The customer that was named.

        Raises:
            click.ClickException: There is none.
        """
        if who.customer_id is not None:
            row = await self.ledger.find_customer(who.customer_id)
            named, mend = f"id {who.customer_id!r}", "See `tiergate customers list`."
        else:
            row = await self.ledger.find_customer_by_user(who.user_id or "")
            named = f"user id {who.user_id!r}"
            mend = "`tiergate customers list` shows all, and `tiergate customers create` records one before it buys."
        if row is None:
            raise click.ClickException(f"There is no customer with {named}. {mend}")
        return row


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Open ledger and cache, and close them.

    Raises:
        click.ClickException: The ledger has no tables of this version.
        LedgerUnavailable: It cannot be reached.
    """
    clock = open_clock(settings)
    ledger = await Ledger.open(settings.ledger_dsn)
    try:
        await _check_migrated(ledger)
        cache = await Cache.connect(find_cache(settings), deadline_s=_CACHE_DEADLINE_S, on_reconnect=None)
        try:
            publisher = Publisher(ledger, cache, clock)
            codec = KeyCodec(settings.key_pepper.get_secret_value().encode(), settings.mode)
            yield Parts(
                settings=settings,
                clock=clock,
                ledger=ledger,
                cache=cache,
                has_cache=await _answers(cache),
                publisher=publisher,
                provisioning=Provisioning(ledger, publisher, codec, clock),
            )
        finally:
            await cache.aclose()
    finally:
        await ledger.aclose()


def open_clock(settings: Settings) -> Clock:
    """The system's clock, or the sandbox's if settings name one."""
    return SimulatedClock(settings.simulated_clock) if settings.simulated_clock is not None else SystemClock()


def find_cache(settings: Settings) -> str:
    """URL of the cache in the settings, or of the embedded one of the data directory, whether it runs or not."""
    return settings.redis_url.get_secret_value() if settings.redis_url else CacheServer.url_of(settings.data_dir)


def find_running_cache(settings: Settings) -> str | None:
    """As `find_cache`; None if that is the embedded cache, and it does not run."""
    if settings.redis_url is None and not CacheServer(settings.data_dir).is_running:
        return None
    return find_cache(settings)


def find_policy(settings: Settings) -> Policy | None:
    """The policy, for the audit log; None if it is not valid, which keeps nobody from blocking a customer."""
    try:
        return load_policy(settings.policy_dir)
    except PolicyInvalid:
        return None


def say_if_unpublished(is_published: bool) -> None:  # noqa: FBT001 - the answer of the call before it
    """Tell the operator that the cache does not know yet."""
    if not is_published:
        note(
            "The cache cannot be reached from here. The change is safe in the ledger: a running gateway puts it "
            "in force within seconds, a stopped one before it serves again."
        )


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; what the parts log in passing is shown only if it is an error.

    Raises:
        click.ClickException: The ledger or the policy says no, or the Stripe key is of another account, in words for
            a person.
    """
    configure_logging("console", "error")
    try:
        return asyncio.run(work)
    except LedgerConflict as error:
        raise click.ClickException(f"{error}; nothing was changed.") from None
    except LedgerUrlInvalid as error:
        raise click.ClickException(f"TIERGATE_LEDGER_URL: {error}.") from None
    except StripeAccountWrong as error:
        change = stripe_change(error.what)
        raise click.ClickException(f"{change.what} {change.fix}") from None
    except PolicyInvalid as error:
        raise policy_refused(error) from None


def policy_refused(error: PolicyInvalid) -> click.ClickException:
    """Every fault of the policy, for a command that cannot do without one."""
    faults = "\n".join(f"  {fault}" for fault in error.faults)
    return click.ClickException(
        f"The policy is not valid ({policy_check_words(find_policy_dir())} shows where):\n{faults}"
    )


async def _check_migrated(ledger: Ledger) -> None:
    tables = await ledger.find_tables()
    if tables == "current":
        return
    if tables == "newer":
        raise click.ClickException(
            f"The ledger ({ledger.description}) has tables of a newer version of tiergate. "
            "Use that version or a later one."
        )
    has = "no tables yet" if tables == "none" else "tables of an older version"
    raise click.ClickException(
        f"The ledger ({ledger.description}) has {has}. Run `tiergate migrate`; `tiergate serve` does it too."
    )


async def _answers(cache: Cache) -> bool:
    try:
        await cache.ping()
    except CacheUnavailable:
        return False
    return True
