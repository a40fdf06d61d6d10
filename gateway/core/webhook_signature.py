"""Signatures of the events that we send: symmetric, as Standard Webhooks has them.

    webhook-id: alert_...   webhook-timestamp: 1674087231   webhook-signature: v1,<base64> [v1,<base64> ...]

What is signed is `<id>.<timestamp>.<body>`, with HMAC-SHA256. With two secrets there are two signatures,
so that a receiver can be moved from one to the other.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 - how secrets begin
SHORTEST, LONGEST = 24, 64
"""Bytes of a secret."""


def read_secret(text: str) -> bytes:
    """The bytes of a secret as it is written: `whsec_` and base64.

    Raises:
        ValueError: It is none. The message says nothing of the value.
    """
    if not text.startswith(SECRET_PREFIX):
        raise ValueError("does not start with whsec_")
    try:
        secret = b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        raise ValueError("not whsec_ and base64") from None
    if not SHORTEST <= len(secret) <= LONGEST:
        raise ValueError(f"not {SHORTEST} to {LONGEST} bytes in base64")
    return secret


def sign_event(secrets: Sequence[bytes], *, event_id: str, at: int, body: bytes) -> str:
    """Value of the `webhook-signature` field.

    Args:
        secrets: At least one.
        event_id: Value of `webhook-id`, without a dot.
        at: Value of `webhook-timestamp`: Unix seconds, of this attempt.
        body: As sent.
    """
    signed = b"%b.%d.%b" % (event_id.encode(), at, body)
    return " ".join(f"v1,{b64encode(hmac.digest(secret, signed, 'sha256')).decode()}" for secret in secrets)
