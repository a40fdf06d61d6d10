"""Findings after which somebody must act are told, whoever found them: an event, a reconciliation, a person, a buyer.

Once a day of each customer and finding, for as long as it lasts: a second reader of the same tells nothing new. An
event is set aside as dead beside it (`gateway.sync.judging`), to be replayed when somebody has acted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gateway.core.alerts import needs_attention
from gateway.core.findings import NEEDS_ATTENTION, WHAT_TO_DO, Finding, FindingCode
from gateway.ledger import CustomerRow, Ledger


class Attention:
    """Counts findings, and tells of those that need somebody.

    Args:
        ledger: Where alerts are queued.
        channels: Ways on which the seller is told, as the ledger calls them.
    """

    def __init__(self, *, ledger: Ledger, channels: Sequence[str] = ()) -> None:
        self._ledger = ledger
        self._channels = channels
        self.found: Counter[FindingCode] = Counter()
        """How often this process came upon each."""

    async def tell(self, row: CustomerRow, findings: Sequence[Finding], now: int) -> None:
        """Called for whatever one read of a customer found.

        Raises:
            LedgerUnavailable: Some may not be told. Telling again is harmless.
        """
        self.found.update(finding.code for finding in findings)
        for finding in findings:
            if finding.code in NEEDS_ATTENTION and self._channels:
                alert = needs_attention(
                    customer_id=row.customer_id,
                    user_id=row.user_id,
                    code=finding.code,
                    detail=finding.detail,
                    what_to_do=WHAT_TO_DO[finding.code],
                    at=now,
                )
                await self._ledger.record_alert(alert, self._channels)
