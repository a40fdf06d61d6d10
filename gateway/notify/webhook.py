"""Events as signed POST requests.

2xx takes an event. 410 says that the receiver is gone for good. Everything else, redirects too, is tried
again: a redirect that was followed would lead to a place that the settings do not name.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

import gateway
from gateway.core.webhook_signature import sign_event
from gateway.notify.channel import NotTaken
from gateway.setting_values import is_loopback

if TYPE_CHECKING:
    from collections.abc import Sequence

_GONE: Final = 410


class WebhookChannel:
    """One receiver.

    Args:
        url: https, or http on this machine: from the settings.
        secrets: Each signs.
        timeout_s: To connect, to send, and for each part of the answer.
    """

    name = "webhook"

    def __init__(self, url: str, secrets: Sequence[bytes], *, timeout_s: float = 10.0) -> None:
        self._url = url
        self._secrets = secrets
        is_here = is_loopback(urlsplit(url).hostname or "")
        self._http = httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, trust_env=not is_here)

    async def send(self, event_id: str, body: str) -> None:
        """As `Channel.send`. Of the answer only the status is read."""
        content = body.encode()
        at = int(time())  # real time even beside a simulated clock: receivers compare it with theirs
        headers = {
            "content-type": "application/json",
            "user-agent": f"tiergate/{gateway.__version__}",
            "webhook-id": event_id,
            "webhook-timestamp": str(at),
            "webhook-signature": sign_event(self._secrets, event_id=event_id, at=at, body=content),
        }
        try:
            async with self._http.stream("POST", self._url, content=content, headers=headers) as answer:
                status = answer.status_code
        except httpx.HTTPError as error:
            raise NotTaken(f"no answer: {type(error).__name__}") from None
        if not answer.is_success:
            raise NotTaken(f"answered {status}", is_final=status == _GONE)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
