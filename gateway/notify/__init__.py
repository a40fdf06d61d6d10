"""The ways to the seller: a signed webhook, and e-mail. Where they lead is in the settings, and nowhere else."""

from __future__ import annotations

from gateway.notify.channel import Channel, NotTaken
from gateway.notify.email import EmailChannel, MailServer
from gateway.notify.webhook import WebhookChannel

__all__ = ["Channel", "EmailChannel", "MailServer", "NotTaken", "WebhookChannel"]
