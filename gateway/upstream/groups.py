"""The groups in force, by name: kept in step with the policy while requests pass.

A group whose definition has not changed keeps its connections and what is known of its servers' health.
One that is new or changed is opened, and takes over at once; the one it replaces finishes what is in
progress, and so does a group that is defined no more. A group that cannot be opened (a TLS file that
is not there) leaves the one before it in force, if there was one; `faults` says so.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import structlog

from gateway.core.upstream_policy import DEFAULT_GROUP, Server, UpstreamGroup
from gateway.supervised import METRICS_VARIABLE
from gateway.upstream.group import Group, GroupOptions
from gateway.upstream.tls import Fingerprint, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.telemetry import Metrics

log = structlog.get_logger(__name__)


class Groups:
    """Every group of one worker. Lives on one event loop.

    Args:
        options: Of the process.
        default_urls: Servers of the group `default`, if policy defines none of that name.
        metrics: Where health is shown. None: nowhere.
    """

    def __init__(self, options: GroupOptions, default_urls: Sequence[str], metrics: Metrics | None = None) -> None:
        self._options = options
        self._metrics = metrics
        self._default = (
            UpstreamGroup(name=DEFAULT_GROUP, servers=tuple(Server(url=url) for url in default_urls))
            if default_urls
            else None
        )
        self._definitions: Mapping[str, UpstreamGroup] | None = None
        self._groups: dict[str, Group] = {}
        self._fingerprints: dict[str, Fingerprint] = {}
        self._retiring: dict[asyncio.Task[None], Group] = {}
        self.faults: dict[str, str] = {}
        """Groups that are not as policy has them, and why."""

    def update(self, definitions: Mapping[str, UpstreamGroup]) -> None:
        """Put a policy's groups in force. Costs nothing if they are the ones in force already.

        Call it in the event loop, with the policy in force at that moment and never with one that a request kept.
        """
        if definitions is not self._definitions:
            self._definitions = definitions
            self.renew()

    def renew(self) -> None:
        """Open again what has changed in policy or in its TLS files. It looks at the files' times and sizes."""
        wanted = dict(self._definitions or {})
        if self._default is not None:
            wanted.setdefault(DEFAULT_GROUP, self._default)
        before, self._groups = self._groups, {}
        faults_before, self.faults = self.faults, {}
        for name, definition in wanted.items():
            group = self._open(definition, before.get(name))
            if group is not None:
                self._groups[name] = group
        kept = set(self._groups.values())
        for group in before.values():
            if group not in kept:
                self._retire(group)
        for name, fault in self.faults.items():
            if faults_before.get(name) != fault:
                log.error("upstream group cannot be opened", group=name, reason=fault, keeps_old=name in self._groups)

    def find(self, name: str) -> Group | None:
        """The group of that name, or one that was just put out of force, for a request decided before that.

        None: it is not defined, or could not be opened (`faults`).
        """
        group = self._groups.get(name)
        if group is None:
            group = next((retiring for retiring in self._retiring.values() if retiring.name == name), None)
        return group

    def __iter__(self) -> Iterator[Group]:
        return iter(tuple(self._groups.values()))

    @property
    def retiring(self) -> int:
        """Groups out of force that still have exchanges in progress."""
        return len(self._retiring)

    async def aclose(self) -> None:
        """Close every connection, also of groups out of force. Exchanges in progress break off."""
        retiring = dict(self._retiring)
        for task in retiring:
            task.cancel()
        if retiring:
            await asyncio.wait(retiring)
        for group in (*self._groups.values(), *retiring.values()):
            await group.aclose()

    def _open(self, definition: UpstreamGroup, before: Group | None) -> Group | None:
        name, files = definition.name, fingerprint(definition.tls)
        if before is not None and before.definition == definition and self._fingerprints[name] == files:
            return before
        try:
            group = Group(definition, self._options, self._metrics)
        except (OSError, ValueError) as error:
            self.faults[name] = f"{type(error).__name__}: {error}"
            return before
        self._fingerprints[name] = files
        return group

    def _retire(self, group: Group) -> None:
        task = asyncio.get_running_loop().create_task(group.retire(), name="upstream group's end")
        self._retiring[task] = group
        task.add_done_callback(self._retired)
        if self._metrics is None:
            return
        shown = {(other.name, upstream.url) for other in self._groups.values() for upstream in other.upstreams}
        for upstream in group.upstreams:
            if (group.name, upstream.url) not in shown:
                self._metrics.upstream_healthy.labels(group.name, upstream.url).set(1)
                if METRICS_VARIABLE not in os.environ:  # several workers' files cannot forget a label
                    self._metrics.upstream_healthy.remove(group.name, upstream.url)

    def _retired(self, task: asyncio.Task[None]) -> None:
        self._retiring.pop(task, None)
