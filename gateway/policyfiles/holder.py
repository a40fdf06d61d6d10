"""The running policy, and its replacement while requests pass.

A policy is replaced as a whole by one assignment: a request that holds the old one finishes
with it. An edit that cannot be compiled changes nothing but `last_error`.

A change is taken when two consecutive readings of the whole directory are equal, so a file
that is being written, copied or swapped by link is not judged half-way. A writer that pauses
for longer than that is: what it has written so far is taken if it is a valid policy by itself.
Only a file that is written beside and renamed into place is whole at every moment.
A directory that is gone or empty must stay so for longer: editors and volume updates make it
vanish for a moment.

Files that a policy names (certificates, values of header fields) are watched like its own: a
renewed certificate makes another policy.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

import structlog

from gateway.policyfiles.cautions import find_gone_plans, find_restarts
from gateway.policyfiles.compiler import compile_policy
from gateway.policyfiles.faults import PolicyInvalid
from gateway.policyfiles.sources import read_sources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.core.policy import Policy
    from gateway.policyfiles.compiler import CompiledPolicy
    from gateway.policyfiles.faults import Caution
    from gateway.policyfiles.last_good import LastGood
    from gateway.policyfiles.sources import Sources

_log = structlog.get_logger(__name__)

_EQUAL_READINGS = 2
_EQUAL_READINGS_IF_NOTHING = 5


class PolicyHolder:
    """Holds the current policy of one process and keeps it in step with the directory.

    Args:
        directory: Where `*.yaml` lies.
        poll_s: Seconds between two readings. An edit is in force after at most three of them.
        last_good: Where the workers of one run keep the policy in force. One that starts later begins with
            that, and takes what lies in the directory as its fellows do: when it has settled and is valid.
        has_default_upstream: As for `compile_policy`.

    Raises:
        PolicyInvalid: There is no valid policy to start with.
    """

    def __init__(
        self,
        directory: Path,
        *,
        poll_s: float = 1.0,
        last_good: LastGood | None = None,
        has_default_upstream: bool = True,
    ) -> None:
        self._directory = directory
        self._has_default_upstream = has_default_upstream
        self._poll_s = poll_s
        self._last_good = last_good
        self._taken = (last_good.find() if last_good else None) or read_sources(directory)
        compiled = self._compile(self._taken)
        self._current = compiled.policy
        _say_cautions(_log.info, compiled)  # each worker says it, and nothing has changed
        self._taken = replace(self._taken, attachments=compiled.attachments)
        self._keep()
        self._candidate: Sources | None = None
        self._equal_readings = 0
        self._lock = Lock()
        self._asked = asyncio.Event()
        self.last_error: PolicyInvalid | None = None
        """Why the newest content was refused; None while the running policy is the newest content."""
        self.reloads = 0
        """Times a different policy was put in force since the start."""
        self.refusals = 0
        """Times changed content was refused since the start."""

    @property
    def current(self) -> Policy:
        """The policy in force. Take it once per request: the next access may give another."""
        return self._current

    async def watch(self) -> None:
        """Poll until cancelled. Reading and compiling happen in a thread, not on the event loop."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), self._poll_s)
            work = self.reload if self._asked.is_set() else self.poll
            self._asked.clear()
            try:
                await asyncio.to_thread(work)
            except Exception:  # noqa: BLE001 - the watch must outlive any surprise, and it says so
                _log.exception("policy watch failed", directory=str(self._directory))

    def ask_reload(self) -> None:
        """Have the watch `reload` now. Returns at once; call it in the event loop that runs the watch."""
        self._asked.set()

    def poll(self) -> None:
        """One reading; takes the content once it has settled."""
        with self._lock:
            reading = read_sources(self._directory, self._taken.attachments)
            if reading == self._taken:
                self._candidate = None
                return
            if reading == self._candidate:
                self._equal_readings += 1
            else:
                self._candidate, self._equal_readings = reading, 1
            needed = _EQUAL_READINGS if reading.files else _EQUAL_READINGS_IF_NOTHING
            if self._equal_readings >= needed:
                self._take(reading)

    def reload(self) -> bool:
        """Read and take the content now, without waiting for it to settle: somebody asked (SIGHUP).

        It may take longer than a request may wait: inside an event loop that serves, `ask_reload`.

        Returns whether the content is valid, and so in force.
        """
        with self._lock:
            return self._take(read_sources(self._directory))

    def _take(self, reading: Sources) -> bool:
        self._taken, self._candidate = reading, None
        try:
            compiled = self._compile(reading)
        except PolicyInvalid as error:
            self._taken = replace(reading, attachments=error.attachments)
            self.last_error = error
            self.refusals += 1
            _log.error(
                "policy refused",
                running=self._current.policy_hash,
                faults=[str(fault) for fault in error.faults],
            )
            return False
        policy = compiled.policy
        self._taken = replace(reading, attachments=compiled.attachments)
        self._keep()
        was_refused, self.last_error = self.last_error is not None, None
        if policy.policy_hash != self._current.policy_hash:
            before, self._current = self._current, policy
            self.reloads += 1
            _log.info("policy reloaded", before=before.policy_hash, running=policy.policy_hash)
            edits = find_restarts(before, policy, compiled.limit_places)
            gone = find_gone_plans(before, policy, compiled.plan_places)
            _say_cautions(_log.warning, compiled, (*gone, *edits))
        elif was_refused:
            _log.info("policy files are valid again and say what is running", running=policy.policy_hash)
        return True

    def _compile(self, reading: Sources) -> CompiledPolicy:
        return compile_policy(reading, has_default_upstream=self._has_default_upstream)

    def _keep(self) -> None:
        if self._last_good is not None:
            self._last_good.keep(self._taken)


def _say_cautions(say: Callable[..., None], compiled: CompiledPolicy, edits: tuple[Caution, ...] = ()) -> None:
    cautions = (*edits, *compiled.cautions)
    if cautions:
        said = [str(caution) for caution in cautions]
        say("policy in force may surprise", running=compiled.policy.policy_hash, cautions=said)
