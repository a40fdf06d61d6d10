"""Delivering what was recorded: at least once, under the same id every time, until it is taken or given up.

A claim lasts longer than any try. A worker that dies in between leaves its claims, which run out; then
another sends the same again. Receivers tell repeats by the id.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog

from gateway.notify import NotTaken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.clock import Clock
    from gateway.ledger import AlertRow, Ledger
    from gateway.notify import Channel
    from gateway.telemetry import Metrics

log = structlog.get_logger(__name__)

_MINUTE: Final = 60
_HOUR: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingOptions:
    """How delivery paces itself."""

    pauses_s: tuple[int, ...] = (
        5,
        5 * _MINUTE,
        30 * _MINUTE,
        2 * _HOUR,
        5 * _HOUR,
        10 * _HOUR,
        14 * _HOUR,
        20 * _HOUR,
        24 * _HOUR,
    )
    """Seconds after each try that failed; after one more it is dead: some three days. Source: Standard Webhooks,
    "Deliverability and reliability", whose example schedule this is."""
    deadline_s: float = 20.0
    """Longest one try."""
    lease_s: int = 90
    """How long a claim lasts: longer than the longest try, also of an e-mail, which runs in a thread."""
    batch: int = 10
    """Alerts sent at once by one worker."""


class Sending:
    """Sends what is due. `channels`: the ways that settings name."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        channels: Sequence[Channel],
        clock: Clock,
        metrics: Metrics,
        options: SendingOptions | None = None,
    ) -> None:
        self._ledger = ledger
        self._channels = {channel.name: channel for channel in channels}
        self._clock = clock
        self._metrics = metrics
        self._options = options or SendingOptions()
        self._worker = uuid4().hex

    async def send_due(self) -> int:
        """Try everything that is due once, and show how much waits.

        Returns:
            How many tries were made.

        Raises:
            LedgerUnavailable: Claims that were made run out by themselves.
        """
        names, tries = list(self._channels), 0
        while names and await self._ledger.has_due_alerts(channels=names, now=self._now()):
            rows = await self._ledger.claim_alerts(
                worker=self._worker,
                channels=names,
                now=self._now(),
                lease_s=self._options.lease_s,
                limit=self._options.batch,
            )
            if not rows:
                break
            await asyncio.gather(*(self._send(row) for row in rows))
            tries += len(rows)
        for status, alerts in (await self._ledger.alert_counts()).items():
            self._metrics.alerts_waiting.labels(status).set(alerts)
        return tries

    async def _send(self, row: AlertRow) -> None:
        try:
            await asyncio.wait_for(self._channels[row.channel].send(row.alert_id, row.body), self._options.deadline_s)
        except NotTaken as error:
            await self._not_taken(row, str(error), is_final=error.is_final)
        except TimeoutError:
            await self._not_taken(row, "no answer in time", is_final=False)
        except Exception as error:  # a defect on one way must not keep alerts from the others
            log.exception("alert not sent", alert_id=row.alert_id, channel=row.channel)
            await self._not_taken(row, type(error).__name__, is_final=False)
        else:
            self._metrics.alerts.labels(row.channel, "taken").inc()
            await self._ledger.finish_alert(row, now=self._now())

    async def _not_taken(self, row: AlertRow, error: str, *, is_final: bool) -> None:
        pauses, about = self._options.pauses_s, {"alert_id": row.alert_id, "channel": row.channel, "reason": error}
        if is_final or row.attempts > len(pauses):
            self._metrics.alerts.labels(row.channel, "dead").inc()
            log.error("alert given up", tries=row.attempts, **about)
            await self._ledger.bury_alert(row, now=self._now(), error=error)
            return
        pause_s = pauses[row.attempts - 1]
        self._metrics.alerts.labels(row.channel, "not-taken").inc()
        log.warning("alert not taken", tries=row.attempts, next_try_s=pause_s, **about)
        await self._ledger.delay_alert(row, until=self._now() + pause_s, error=error)

    def _now(self) -> int:
        return int(self._clock.now())
