"""Alerts to the seller about customers' quotas: noticed in what is settled, sent until they are taken.

`noticing` decides and records, `sending` delivers what is recorded. Both may run in every worker: the
ledger keeps an alert from being recorded twice, and from being in two workers' hands at once.
"""

from __future__ import annotations

from gateway.alerts.noticing import Noticing
from gateway.alerts.sending import Sending, SendingOptions
from gateway.alerts.ways import open_channels

__all__ = ["Noticing", "Sending", "SendingOptions", "open_channels"]
