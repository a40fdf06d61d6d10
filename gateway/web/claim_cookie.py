"""The cookie by which a browser proves that it began a checkout.

It holds the secrets of the last few checkouts of this browser, newest first, so that a second
tab does not take away what the first has paid for. A checkout always gets a fresh secret: one
that was planted in the browser by somebody else opens nothing.
"""

from __future__ import annotations

import re

from litestar.datastructures import Cookie

NAME = "tiergate_claim"
MAX_AGE_S = 86_400
_REMEMBERED = 4
_SECRETS = re.compile(r"[A-Za-z0-9_-]{43}(?:\.[A-Za-z0-9_-]{43}){0,3}")


def claim_secrets(value: str | None) -> tuple[str, ...]:
    """The secrets in a cookie as sent; none if it is not one of ours."""
    return tuple(value.split(".")) if value is not None and _SECRETS.fullmatch(value) else ()


def claim_cookie(fresh: str, present: str | None, *, is_secure: bool) -> Cookie:
    """The cookie to set when a checkout begins.

    Args:
        fresh: The new checkout's secret.
        present: The cookie as the browser sent it.
        is_secure: Whether browsers reach this gateway over https.
    """
    kept = (fresh, *claim_secrets(present))[:_REMEMBERED]
    return Cookie(
        key=NAME,
        value=".".join(kept),
        max_age=MAX_AGE_S,
        path="/",
        httponly=True,
        samesite="lax",
        secure=is_secure,
    )
