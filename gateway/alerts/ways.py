"""The ways to the seller that settings name."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway.notify import EmailChannel, MailServer, WebhookChannel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.notify import Channel
    from gateway.settings import Settings


@asynccontextmanager
async def open_channels(settings: Settings) -> AsyncIterator[tuple[Channel, ...]]:
    """Every way, ready to send; none if settings name none."""
    channels: list[Channel] = []
    if settings.alert_url is not None:
        channels.append(WebhookChannel(settings.alert_url, settings.event_secrets))
    if settings.smtp_host is not None and settings.alert_email_from is not None:
        password = settings.smtp_password
        server = MailServer(
            host=settings.smtp_host,
            port=settings.smtp_port,
            security=settings.smtp_security,
            user=settings.smtp_user,
            password=None if password is None else password.get_secret_value(),
        )
        channels.append(EmailChannel(server, sender=settings.alert_email_from, to=settings.alert_email_to))
    try:
        yield tuple(channels)
    finally:
        for channel in channels:
            await channel.aclose()
