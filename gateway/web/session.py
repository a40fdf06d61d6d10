"""The session of a browser: which customer, signed in with which key, until when.

    <customer id>.<key id>.<expires_at>.<HMAC-SHA256, 64 hex digits>

The cookie holds no secret and no right of its own: every page looks the key up again, so a
revoked or expired key ends its sessions. It is signed, under a secret derived from the
pepper, so that nobody else can name a customer; a cookie that we did not write is no cookie.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

SESSION_COOKIE = "tiergate_session"
SESSION_PATH = "/_tiergate"
SESSION_LASTS_S = 8 * 3600
_LONGEST = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSession:
    """Who signed in, and with which key."""

    customer_id: str
    key_id: str
    expires_at: int


def session_secret(pepper: str) -> bytes:
    """The secret that sessions are signed under: of the pepper, and of no use for keys."""
    return hmac.digest(pepper.encode(), b"tiergate page session", "sha256")


def seal_session(session: PageSession, secret: bytes) -> str:
    """The cookie's value."""
    stem = f"{session.customer_id}.{session.key_id}.{session.expires_at}"
    return f"{stem}.{_mac(stem, secret)}"


def open_session(value: str, secret: bytes, now: float) -> PageSession | None:
    """The session in a cookie's value; None if it is over or not ours."""
    stem, dot, mac = value.rpartition(".")
    if not dot or len(value) > _LONGEST or not value.isascii():
        return None
    if not hmac.compare_digest(_mac(stem, secret), mac):
        return None
    customer_id, key_id, expires_at = stem.split(".")
    session = PageSession(customer_id=customer_id, key_id=key_id, expires_at=int(expires_at))
    return session if now < session.expires_at else None


def _mac(stem: str, secret: bytes) -> str:
    return hmac.digest(secret, stem.encode(), "sha256").hex()
