"""The `Stripe-Signature` header."""

from __future__ import annotations

import hashlib
import hmac


def signature_header(body: bytes, secret: str, at: int) -> str:
    """`t=..,v1=..` over the raw body. `at` is real time, whatever the test clock says: receivers compare it.

    Source: https://docs.stripe.com/webhooks#verify-manually.
    """
    signed = f"{at}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
