"""Is this worker fit to serve, and how are the parts it depends on?

Readiness asks cache, ledger and policy now. Without the cache, calls are refused but for those of
tiers that go on meanwhile (`when_cache_fails`), by a worker that knows some accounts; without the
ledger, customers that the cache knows are served, and taking every instance out of a load
balancer for it would make an outage of what is only degraded. A gateway that never had a ledger
or a policy does not start, and a worker that begins without the ledger counts the cache as
ready only if its fellows do. Stripe is no part of it; that its key is of another account than the
ledger is told. The gauges are refreshed by a background task: local parts at each run, Stripe with
one cheap read a minute, and less often while it does not answer.
"""

from __future__ import annotations

import asyncio
import shlex
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from gateway.cache import CacheUnavailable, Trouble, explain_trouble
from gateway.core.audited import policy_facts
from gateway.core.errors import BillingKeyRefused, BillingRefused, BillingUnavailable, LedgerUnavailable
from gateway.installation import stripe_change

if TYPE_CHECKING:
    from gateway.web.runtime import Runtime

log = structlog.get_logger(__name__)

_STRIPE_CHECK_S = 60.0
_STRIPE_PAUSE_S = 120.0
"""Between two checks of a Stripe that did not answer: it has enough to do."""
_CACHE_WAIT_S = 0.5
_SECOND_LOOKS = 2
_LEDGER_WAIT_S = 1.0
"""Load balancers give a check a few seconds, and a database that hangs takes longer to be given up."""
_UNPUBLISHED_COUNTED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One part, whether it does its job, and what to do if not."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    is_needed: bool = False
    """Whether calls are refused without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """All checks."""

    checks: tuple[Check, ...]

    @property
    def is_ready(self) -> bool:
        """Whether requests should be sent here: everything that a call needs is there."""
        return all(check.ok for check in self.checks if check.is_needed)

    @property
    def is_degraded(self) -> bool:
        """Whether something is missing, needed by calls or not."""
        return not all(check.ok for check in self.checks)


async def check_readiness(runtime: Runtime) -> Readiness:
    """Ask every part, none for longer than a load balancer waits."""
    cache, (ledger, migrations) = await asyncio.gather(_check_cache(runtime), _check_ledger_soon(runtime))
    return Readiness(checks=(cache, ledger, migrations, _check_policy(runtime), *_account_trouble(runtime)))


async def watch_dependencies(runtime: Runtime) -> None:
    """Refresh the gauges about cache, ledger and inbox; count policy reloads. An outage is no error here."""
    metrics, watch = runtime.metrics, runtime.watch
    cache, (ledger, _) = await asyncio.gather(_check_cache(runtime), _check_ledger(runtime))
    metrics.up.labels("cache").set(cache.ok)
    metrics.cache_servers_down.set(len(runtime.cache.down))
    metrics.up.labels("ledger").set(ledger.ok)
    if ledger.ok:
        await _count_in_ledger(runtime)
        await _note_policy(runtime)
    metrics.policy_reloads.labels("taken").inc(runtime.policy.reloads - watch.policy_taken)
    metrics.policy_reloads.labels("refused").inc(runtime.policy.refusals - watch.policy_refused)
    watch.policy_taken, watch.policy_refused = runtime.policy.reloads, runtime.policy.refusals


async def watch_stripe(runtime: Runtime) -> None:
    """Refresh the gauge about Stripe, if it is time to. An outage is no error here."""
    metrics, watch = runtime.metrics, runtime.watch
    if monotonic() >= watch.stripe_due_at:
        is_up = await _stripe_answers(runtime)
        metrics.up.labels("stripe").set(is_up)
        watch.stripe_due_at = monotonic() + (_STRIPE_CHECK_S if is_up else _STRIPE_PAUSE_S)


async def _note_policy(runtime: Runtime) -> None:
    """Have the audit log say which policy is in force since when: an edit moves tiers without any event."""
    policy = runtime.policy.current
    if runtime.watch.policy_noted == policy.policy_hash:
        return
    with suppress(LedgerUnavailable):
        await runtime.ledger.note_policy(policy_facts(policy), now=int(runtime.clock.now()))
        runtime.watch.policy_noted = policy.policy_hash


async def _check_cache(runtime: Runtime) -> Check:
    """Can it decide? Else: who goes on without it, by policy, in what time, and what is wrong."""
    deadline_ms = runtime.settings.cache_deadline_ms
    try:
        milliseconds = await _write_ms(runtime, deadline_ms)
    except CacheUnavailable as error:
        return _no_cache(runtime, explain_trouble(error.reason))
    if not await runtime.cache.wait_ready(_CACHE_WAIT_S) and (trouble := await runtime.cache.find_trouble()):
        return _no_cache(runtime, explain_trouble(trouble))
    if milliseconds > deadline_ms:
        what = f"It took {milliseconds:.0f} ms to answer, and calls wait {deadline_ms} ms."
        return _no_cache(runtime, replace(explain_trouble("no answer in time"), what=what))
    down = runtime.cache.down
    also = f"; masters of the cluster that do not: {', '.join(down)}" if down else ""
    return Check(name="cache", ok=True, detail=f"answers in {milliseconds:.1f} ms{also}", is_needed=True)


async def _write_ms(runtime: Runtime, deadline_ms: int) -> float:
    """The best of a few: one alone may have waited for this process."""
    best = await runtime.cache.try_write()
    for _ in range(_SECOND_LOOKS):
        if best > deadline_ms:
            best = min(best, await runtime.cache.try_write())
    return best


def _no_cache(runtime: Runtime, trouble: Trouble) -> Check:
    """Calls are not all refused while some tiers go on with accounts that this worker holds."""
    tiers = [tier.name for tier in runtime.policy.current.tiers.values() if tier.when_cache_fails.mode != "deny"]
    goes_on = bool(tiers) and runtime.admission.holds_accounts
    who = f" Known customers of {', '.join(tiers)} go on meanwhile, as policy says." if goes_on else ""
    return Check(name="cache", ok=False, detail=trouble.what + who, fix=trouble.fix, is_needed=not goes_on)


async def _check_ledger_soon(runtime: Runtime) -> tuple[Check, Check]:
    try:
        return await asyncio.wait_for(_check_ledger(runtime), _LEDGER_WAIT_S)
    except TimeoutError:
        return _no_ledger(f"{runtime.ledger.description}: no answer within {_LEDGER_WAIT_S:g} s")


async def _check_ledger(runtime: Runtime) -> tuple[Check, Check]:
    where = runtime.ledger.description
    try:
        tables = await runtime.ledger.find_tables()
        if tables == "current":
            await runtime.ledger.ping()
    except LedgerUnavailable as error:
        return _no_ledger(f"{where}: {error}")
    ledger = Check(name="ledger", ok=True, detail=where)
    if tables == "current":
        return ledger, Check(name="migrations", ok=True, detail="up to date")
    has = "no tables any more" if tables == "none" else f"tables of a {tables} version"
    fix = "Replace this gateway by one of that version." if tables == "newer" else "Run `tiergate migrate`."
    return ledger, Check(name="migrations", ok=False, detail=f"It has {has}.", fix=fix)


def _no_ledger(detail: str) -> tuple[Check, Check]:
    fix = "Check that the database runs and TIERGATE_LEDGER_URL is right; `tiergate doctor` says more."
    unknown = "unknown while the ledger does not answer"
    return (
        Check(name="ledger", ok=False, detail=detail, fix=fix),
        Check(name="migrations", ok=False, detail=unknown, fix=fix),
    )


def _account_trouble(runtime: Runtime) -> tuple[Check, ...]:
    """Calls are served with any Stripe key; nothing is sold, bound, ended or billed by one of another account."""
    if runtime.sync.account.trouble is None:
        return ()
    change = stripe_change(runtime.sync.account.trouble)
    return (Check(name="stripe account", ok=False, detail=change.what, fix=change.fix),)


def _check_policy(runtime: Runtime) -> Check:
    """A refused edit is told and is no reason to stop: the running policy stays in force."""
    running = f"running {runtime.policy.current.policy_hash}"
    error = runtime.policy.last_error
    if error is None:
        return Check(name="policy", ok=True, detail=running, is_needed=True)
    directory = shlex.quote(str(runtime.settings.policy_dir.absolute()))
    detail = f"{running}; the newest edit was refused: {error.faults[0]}"
    fix = f"Run `tiergate policy check {directory}`."
    return Check(name="policy", ok=True, detail=detail, fix=fix, is_needed=True)


async def _count_in_ledger(runtime: Runtime) -> None:
    try:
        counts = await runtime.ledger.inbox_counts()
        unpublished = await runtime.ledger.unpublished(_UNPUBLISHED_COUNTED)
    except LedgerUnavailable:
        return
    metrics = runtime.metrics
    for status, events in counts.by_status.items():
        metrics.inbox.labels(status).set(events)
    waiting_since = counts.oldest_open_at
    metrics.inbox_oldest_seconds.set(0 if waiting_since is None else max(0.0, runtime.clock.now() - waiting_since))
    metrics.unpublished.set(len(unpublished))


async def _stripe_answers(runtime: Runtime) -> bool:
    """Whether Stripe answers, also with a refusal, unless it refuses the key: what it could not deliver this minute."""
    try:
        since = int(runtime.clock.now() - _STRIPE_CHECK_S)
        await runtime.billing.fetch_undelivered(since)
    except BillingUnavailable as error:
        log.warning("stripe does not answer", reason=str(error))
        return False
    except BillingKeyRefused as error:
        log.warning("stripe refuses the key", is_whole=error.is_whole)
        return not error.is_whole
    except BillingRefused as error:
        log.warning("stripe refuses to list events", reason=str(error))
    return True
