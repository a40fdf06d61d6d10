"""What settings of alerts may hold. Pure checks, under the law of `setting_values`: no message repeats a value."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from gateway.core.webhook_signature import read_secret
from gateway.setting_values import is_loopback

_ADDRESS = re.compile(r"[^@\s<>,;\"\\()\[\]:]{1,64}@[A-Za-z0-9.-]{1,255}")


def check_webhook_url(value: str) -> str:
    """Where events are sent: https, or plain http on this machine.

    Raises:
        ValueError: It is no such URL.
    """
    if any(character.isspace() or not character.isprintable() for character in value) or not value.isascii():
        raise ValueError("holds white space, a control character or characters outside ASCII")
    try:
        parts = urlsplit(value)
        port_is_zero = parts.port == 0
    except ValueError:
        raise ValueError("has a malformed host or port") from None
    host = parts.hostname or ""
    if not host or port_is_zero or parts.scheme not in {"http", "https"}:
        raise ValueError("not an https:// URL")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("not an https:// URL; plain http:// is for localhost only")
    if parts.fragment or parts.username is not None:
        raise ValueError("has a user or a fragment; a receiver knows us by the signature")
    return value


def check_event_secrets(values: tuple[str, ...]) -> tuple[str, ...]:
    """Secrets that events are signed with.

    Raises:
        ValueError: One is none; the message counts from 1.
    """
    for number, text in enumerate(values, 1):
        try:
            read_secret(text)
        except ValueError as error:
            raise ValueError(f"number {number}: {error}" if len(values) > 1 else str(error)) from None
    return values


def check_address(value: str) -> str:
    """One e-mail address, without a name beside it.

    Raises:
        ValueError: It is none.
    """
    if not value.isascii() or not value.isprintable() or _ADDRESS.fullmatch(value) is None:
        raise ValueError("not an e-mail address like alerts@example.com")
    return value
