"""A worker that serves: everything open and connected, the background tasks running, and its last words at the end."""

from __future__ import annotations

import asyncio
import gc
import signal
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import structlog

from gateway.app.opening import open_runtime
from gateway.app.tasks import charge_back, start_tasks
from gateway.background import Background
from gateway.settings import Settings
from gateway.web.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

log = structlog.get_logger(__name__)


_GC_THRESHOLD = 10_000
_LAST_WORDS_S = 5.0


@asynccontextmanager
async def serving(settings: Settings, *, proxies: bool = True) -> AsyncIterator[Runtime]:
    """Everything open, and everything that goes on beside requests running. `proxies`: as for `open_runtime`."""
    async with open_runtime(settings, proxies=proxies) as runtime:
        async with Background(runtime.metrics) as background:
            start_tasks(background, runtime)
            with _reload_on_hangup(runtime):
                _spare_the_garbage_collector()
                yield runtime
        await _last_words(runtime)


def _spare_the_garbage_collector() -> None:
    """What is there now stays: looking through all of it in the middle of calls would take up to a tenth of a second.

    Calls leave no reference cycles behind, so the collector has little to find and is asked less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 20)


@contextmanager
def _reload_on_hangup(runtime: Runtime) -> Iterator[None]:
    """SIGHUP reloads the policy; a policy that is refused leaves the running one in force."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGHUP, runtime.policy.ask_reload)
    except (RuntimeError, ValueError):  # not the main thread: the file watch still works
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def _last_words(runtime: Runtime) -> None:
    """At shutdown: settle what was counted, write what was decided. The next start repairs what fails here."""
    runtime.metrics.flush()
    steps = [] if runtime.leasing is None else [("leases", runtime.leasing.aclose)]
    for name, work in (
        *steps,
        ("charge-back", lambda: charge_back(runtime)),
        ("settlement", runtime.settlement.settle),
        ("usage history", runtime.tallies.flush),
        ("decision records", runtime.decisions.flush),
    ):
        try:
            await asyncio.wait_for(work(), _LAST_WORDS_S)
        except Exception as error:  # noqa: BLE001 - the process ends either way
            log.warning("shutdown step failed", step=name, error=type(error).__name__)
