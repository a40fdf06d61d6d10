"""Every step that a real process takes outside itself, and a SIGKILL at one of them.

A step is a call of the ledger, a command to the cache, or a request to Stripe, on one of the `PATHS`: what goes on
beside is not counted, or a step would have another number in every run. A plan in a file says on which path, at which
step, and whether before or after it; of several processes the first that gets there is killed, and the plan is gone.
Steps on a planned path are noted in a file, with their numbers and who took them.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gateway.app.tasks
import gateway.web.webhook
from gateway.adopting import Adopting
from gateway.billing.transport import Transport
from gateway.cache import Cache
from gateway.checkout import Checkouts
from gateway.claiming import FirstKeys
from gateway.granting import Granting
from gateway.ledger.database import Database
from gateway.reporting import Reporter
from gateway.settlement import Settlement
from gateway.sync import Arrivals, EventWorker, PlanChanges, Reconciler

FOLDER_VARIABLE = "KILLS_FOLDER"
PATHS: tuple[tuple[str, Any, str], ...] = (
    ("webhook", gateway.web.webhook, "receive_event"),
    ("worker", EventWorker, "work_once"),
    ("sweep", EventWorker, "sweep"),
    ("checkout", Checkouts, "for_customer"),
    ("checkout", Checkouts, "for_user"),
    ("checkout", Checkouts, "for_newcomer"),
    ("claim", FirstKeys, "claim"),
    ("arrival", Arrivals, "arrive"),
    ("change", PlanChanges, "apply"),
    ("settlement", Settlement, "settle"),
    ("report", Reporter, "_work"),
    ("reports", Reporter, "report_due"),
    ("reconciliation", Reconciler, "run"),
    ("grant", Granting, "grant"),
    ("import", Adopting, "run"),
)
"""What begins where. A step is of the innermost: nobody plans one of `reports`, which only tells of claims, too."""
LOOKS_IF_DUE_S = 0.5
"""So often a worker looks whether all customers are to be read again: nobody waits a minute for each step."""
_OF_CACHE = ("publish", "read_usages", "charge_address")

_path: ContextVar[str | None] = ContextVar("_path", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where to die: once, by whoever gets there first."""

    name: str
    path: str
    number: int
    fate: str
    """`before` or `after` the step."""

    def write(self, folder: Path) -> None:
        """From now on."""
        draft = folder / "draft"
        draft.write_text(f"{self.name} {self.path} {self.number} {self.fate}")
        draft.rename(folder / "plan")

    @classmethod
    def read(cls, folder: Path) -> Plan | None:
        """The plan of the moment."""
        try:
            name, path, number, fate = (folder / "plan").read_text().split()
        except FileNotFoundError:
            return None
        return cls(name=name, path=path, number=int(number), fate=fate)


def sign_of(folder: Path, path: str, process: int | str) -> Path:
    """The file that is there while a process is on a path."""
    return folder / f"walking {path} {process}"


class Watch:
    """Counts the steps of this process, for one plan after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = ""
        self._steps = 0
        self._walking: Counter[str] = Counter()

    @contextlib.contextmanager
    def walk(self, path: str) -> Iterator[None]:
        """On a path; a file says so as long as this process lives and is on it."""
        token, sign = _path.set(path), sign_of(self._folder, path, os.getpid())
        self._walking[path] += 1
        sign.touch()
        try:
            yield
        finally:
            self._walking[path] -= 1
            if not self._walking[path]:
                sign.unlink()
            _path.reset(token)

    async def take(self, kind: str, name: str, do: Callable[[], Awaitable[Any]]) -> Any:
        """One step."""
        plan = Plan.read(self._folder)
        if plan is None or plan.path != _path.get():
            return await do()
        if plan.name != self._name:
            self._name, self._steps = plan.name, 0
        number = self._steps
        self._steps += 1
        if (number, "before") == (plan.number, plan.fate):
            self._die()
        try:
            result = await do()
        except Exception:  # a refusal is an end of the step, too
            self._taken(plan, number, f"{kind} {name}")
            raise
        if is_idle(name, result):
            self._steps -= 1
            return result
        self._taken(plan, number, f"{kind} {name}")
        return result

    def _taken(self, plan: Plan, number: int, step: str) -> None:
        with (self._folder / "steps").open("a") as steps:
            steps.write(f"{plan.name} {os.getpid()} {plan.path} {number} {step}\n")
        if (number, "after") == (plan.number, plan.fate):
            self._die()

    def _die(self) -> None:
        try:
            (self._folder / "plan").unlink()
        except FileNotFoundError:  # another process was first
            return
        os.kill(os.getpid(), signal.SIGKILL)


def is_idle(name: str, result: Any) -> bool:
    """Whether a worker or a sweep looked whether there is work, as it does every few seconds, and there was none."""
    return (name == "claim_events" and not result) or (name == "GET events" and not json.loads(result[0])["data"])


def watch(folder: Path) -> None:
    """Put all steps of this process under watch."""
    taking = Watch(folder)
    see_through, request_async = Database.see_through, Transport.request_async

    async def ledger_step(database: Database, work: Any) -> Any:
        return await taking.take("ledger", work.__name__, lambda: see_through(database, work))

    async def stripe_step(transport: Transport, method: str, url: str, headers: Any, post_data: Any = None) -> Any:
        name = f"{method} {url.partition('?')[0].partition('/v1/')[2].partition('/')[0]}"
        return await taking.take("stripe", name, lambda: request_async(transport, method, url, headers, post_data))

    Database.see_through = ledger_step  # type: ignore[method-assign]
    Transport.request_async = stripe_step  # type: ignore[method-assign]
    gateway.app.tasks._RECONCILE_CHECK_S = LOOKS_IF_DUE_S
    for name in _OF_CACHE:
        setattr(Cache, name, _cache_step(taking, name, getattr(Cache, name)))
    for path, owner, name in PATHS:
        setattr(owner, name, _on_path(taking, path, getattr(owner, name)))


def _cache_step(taking: Watch, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(call)
    async def step(*args: Any, **options: Any) -> Any:
        return await taking.take("cache", name, lambda: call(*args, **options))

    return step


def _on_path(taking: Watch, path: str, begin: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(begin)
    async def go(*args: Any, **options: Any) -> Any:
        if path == "settlement" and not args[0]._charged:  # nothing to settle
            return await begin(*args, **options)
        if path == "arrival" and _path.get() == "claim":  # that begins with an arrival, and is planned as a whole
            return await begin(*args, **options)
        with taking.walk(path):
            return await begin(*args, **options)

    return go
