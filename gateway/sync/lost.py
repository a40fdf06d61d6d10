"""An event about a Stripe customer that is labelled as one of a ledger's, and is in this one under no id.

Somebody may have paid and be locked out: after a restore from a backup the ledger misses whom it made since. Or
another gateway shares the account, and all is well. The label's ledger tells the two apart.

| the label's ledger   | what becomes of the event                                                        |
|----------------------|----------------------------------------------------------------------------------|
| this one             | dead, one for each customer and process; `tiergate customers import` makes it anew |
| another              | done: another gateway's                                                          |
| none (older labels)  | done, and once a day the log says that there are such                            |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog
from cachetools import LRUCache

from gateway.sync.verdicts import Verdict

if TYPE_CHECKING:
    from gateway.billing import Claimed
    from gateway.clock import Clock
    from gateway.ledger import InboxRow, Ledger

log = structlog.get_logger(__name__)

_REMEMBERED = 10_000
_SAID_EVERY_S = 86_400


class LostCustomers:
    """Judges events whose customer no ledger row is found for, and counts them by verdict."""

    def __init__(self, *, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._set_aside: LRUCache[str, str] = LRUCache(_REMEMBERED)
        self._said_at = float("-inf")
        self.judged: Counter[str] = Counter()
        """How many events had which verdict, in one word."""

    async def judge(self, rows: list[InboxRow], stripe_customer_id: str, claims: Iterable[Claimed]) -> Verdict:
        """The verdict on events of one Stripe customer that is nobody's here; the last of them may be dead.

        Args:
            rows: The events.
            stripe_customer_id: Whose they are.
            claims: What they, or the objects that they are about, say whose they are.

        Raises:
            LedgerUnavailable: Nobody can say whose label it is.
        """
        claimed = next((one for one in claims if one.by_metadata is not None), None)
        if claimed is None:
            return self.dismiss("not-ours", len(rows))
        if claimed.ledger_id is None:
            self._say(claimed.by_metadata, stripe_customer_id)
            return self.dismiss("not-in-this-ledger", len(rows))
        if claimed.ledger_id != await self._ledger.find_ledger_id():
            return self.dismiss("another-ledger", len(rows))
        self.judged["lost"] += len(rows)
        event_id = self._set_aside.setdefault(stripe_customer_id, rows[-1].event_id)
        if event_id not in {row.event_id for row in rows}:
            return Verdict(outcome=f"lost: see {event_id}")
        self._set_aside[stripe_customer_id] = rows[-1].event_id
        reason = (
            f"this ledger made customer {claimed.by_metadata} and does not have it: it was lost, as by a restore "
            f"from a backup. `tiergate customers import --from-stripe` makes it again, and reads {stripe_customer_id}"
        )
        return Verdict(outcome=reason, is_dead=True)

    def dismiss(self, verdict: str, events: int = 1) -> Verdict:
        """The verdict that there is nothing to do for anybody here."""
        self.judged[verdict] += events
        return Verdict(outcome=verdict)

    def _say(self, customer_id: str | None, stripe_customer_id: str) -> None:
        now = self._clock.now()
        if now - self._said_at < _SAID_EVERY_S:
            return
        self._said_at = now
        log.error(
            "events name customers that are not in this ledger: another gateway's, or lost in a restore",
            customer_id=customer_id,
            stripe_customer_id=stripe_customer_id,
            fix="if they were lost: tiergate customers import --from-stripe --of-ledger unnamed --dry-run",
        )
