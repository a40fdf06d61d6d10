"""The cookies by which a browser proves which checkouts it began.

One cookie a checkout, named after it and holding its secret, so that no checkout takes away what
another has paid for: neither one in a second tab, nor one that was begun by a request without the
browser's cookies, as a form of another site sends it. A checkout always gets a fresh secret: one
that was planted in the browser by somebody else opens nothing.

    <secret, 43 characters>.<session id>

The session id is no secret to that browser; by it the browser is known again when it begins
another checkout before it has a key.

They are for our pages only: no browser sends them with a call of the proxied API.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256

from litestar.datastructures import Cookie

from gateway.web.reserved import OPERATIONS

KEPT_DAYS = 30
"""How long a claim is kept from the start of its checkout. Cards pay at once; bank debits (ACH, SEPA) are confirmed
days or weeks later, and a buyer without its claim then has paid for a key that nobody shows it."""
_DAY_S = 86_400
_PREFIX = "tiergate_claim_"
_SHORT_ID_DIGITS = 16
_MOST = 8
"""Claims that a browser keeps, so that its Cookie field stays small."""
_VALUE = re.compile(r"([A-Za-z0-9_-]{43})(?:\.(cs_[A-Za-z0-9_]{1,200}))?")
"""Claims of earlier releases are the secret alone."""


def claim_secret(cookies: Mapping[str, str], session_id: str) -> str | None:
    """The secret of a checkout among the cookies that a browser sent."""
    value = _VALUE.fullmatch(cookies.get(_name(session_id), ""))
    return None if value is None else value[1]


def begun_sessions(cookies: Mapping[str, str]) -> list[str]:
    """Session ids of the checkouts that a browser says it began, the newest first. Its secrets are to be checked."""
    values = [_VALUE.fullmatch(value) for name, value in cookies.items() if name.startswith(_PREFIX)]
    return [value[2] for value in reversed(values) if value is not None and value[2] is not None][:_MOST]


def claim_cookie(session_id: str, secret: str, *, is_secure: bool) -> Cookie:
    """The cookie to set when a checkout begins. `is_secure`: browsers reach this gateway over https."""
    return _cookie(_name(session_id), f"{secret}.{session_id}", KEPT_DAYS * _DAY_S, is_secure=is_secure)


def old_claims(names: Iterable[str], *, fresh: int = 0, is_secure: bool) -> list[Cookie]:
    """What ends the oldest claims of a browser that has too many.

    Args:
        names: Of the cookies as the browser sent them: those of one path come oldest first.
        fresh: How many claims are about to be added.
        is_secure: Whether browsers reach this gateway over https.

    Source: RFC 6265 section 5.4.
    """
    claims = [name for name in names if name.startswith(_PREFIX)]
    surplus = max(0, len(claims) + fresh - _MOST)
    return [_cookie(name, "", 0, is_secure=is_secure) for name in claims[:surplus]]


def _name(session_id: str) -> str:
    return _PREFIX + sha256(session_id.encode()).hexdigest()[:_SHORT_ID_DIGITS]


def _cookie(name: str, value: str, max_age: int, *, is_secure: bool) -> Cookie:
    return Cookie(
        key=name, value=value, max_age=max_age, path=OPERATIONS, httponly=True, samesite="lax", secure=is_secure
    )
