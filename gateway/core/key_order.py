"""What a new key shall be, and whether it may be that.

What a key asks for is held to that key's own bounds: it ends no later, and works from nowhere
else. So a thief of a key that ends, or that works in one network only, gets none that outlasts
it or works elsewhere. Scopes and limits need no such rule: a key that has them asks for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gateway.core.account import LAST_INSTANT, KeyRecord
from gateway.core.allow_list import AllowInvalid, is_within, network_text, parse_network
from gateway.core.errors import TiergateError
from gateway.core.limits import Limit, limit_field
from gateway.core.scope import ScopeInvalid, parse_scope

MAX_NAME_LENGTH = 80
MAX_SCOPES = 20
MAX_LIMITS = 10
MAX_NETWORKS = 20
MAX_RULE_LENGTH = 200
"""Characters of one scope, or of one limit as written: every copy of the account and the audit log hold them all."""
MAX_SCOPES_LENGTH = 2000
"""Characters of a key's scopes together: 50 keys must make no account that is long to send."""


class BeyondIssuer(TiergateError):
    """The key that asks ends sooner, or works in fewer networks, than the one it asks for."""

    code = "not-allowed"


class KeyInvalidRequest(TiergateError):
    """A name, scope, limit, network or expiry that a key cannot have. The message says which and why."""

    code = "invalid-request"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOrder:
    """What a new key shall be."""

    name: str = "default"
    scopes: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    limit_texts: tuple[str, ...] = ()
    """The limits as written, for people."""
    allow: tuple[str, ...] = ()
    """Addresses and networks it may be used from, as written. Empty: from anywhere."""
    expires_at: int | None = None


def checked_order(order: KeyOrder, issuer: KeyRecord | None, now: int) -> KeyOrder:
    """The order as it is carried out: with networks in one spelling, and the issuer's bounds where it names none.

    Args:
        order: As it was asked for.
        issuer: The customer's key that asks. None: the seller asks, who may issue any.
        now: Unix seconds.

    Raises:
        KeyInvalidRequest: No key can be like that.
        BeyondIssuer: This issuer may not have one like that.
    """
    _check(order, now)
    order = replace(order, allow=_read_allow(order.allow))
    if issuer is not None:
        ends_at = order.expires_at if order.expires_at is not None else issuer.expires_at
        order = replace(order, expires_at=ends_at, allow=order.allow or issuer.allow)
    check_issuer(order, issuer)
    return order


def check_issuer(order: KeyOrder, issuer: KeyRecord | None) -> None:
    """Refuse a key that could do what the one that asks for it cannot.

    Raises:
        BeyondIssuer: It would last longer, or work in more networks.
    """
    if issuer is None:
        return
    if issuer.expires_at is not None and (order.expires_at is None or order.expires_at > issuer.expires_at):
        end = datetime.fromtimestamp(issuer.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        raise BeyondIssuer(f"The key that asks ends at {end} and the new one would outlive it; use one that lasts.")
    if not is_within(order.allow, issuer.allow):
        raise BeyondIssuer(
            "The key that asks may be used from fewer addresses than the new one; use one that may be used from all."
        )


def _check(order: KeyOrder, now: int) -> None:
    name = order.name.strip()
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise KeyInvalidRequest(f"A key's name has 1 to {MAX_NAME_LENGTH} printable characters.")
    if order.expires_at is not None and order.expires_at <= now:
        raise KeyInvalidRequest("expires_at lies in the past.")
    if order.expires_at is not None and order.expires_at > LAST_INSTANT:
        raise KeyInvalidRequest("expires_at lies beyond the year 9999; leave it out for a key that lasts.")
    _check_texts("scopes", order.scopes, most=MAX_SCOPES)
    _check_texts("limits", order.limit_texts, most=MAX_LIMITS)
    if sum(map(len, order.scopes)) > MAX_SCOPES_LENGTH:
        raise KeyInvalidRequest(f"scopes: a key's have at most {MAX_SCOPES_LENGTH:,} characters together.")
    _check_scopes(order.scopes)
    _check_limits(order.limits)


def _check_texts(kind: str, texts: tuple[str, ...], *, most: int) -> None:
    if len(texts) > most:
        raise KeyInvalidRequest(f"A key has at most {most} {kind} of its own.")
    if any(len(text) > MAX_RULE_LENGTH or not text.isprintable() for text in texts):
        raise KeyInvalidRequest(f"{kind}: each has at most {MAX_RULE_LENGTH} printable characters.")


def _check_scopes(scopes: tuple[str, ...]) -> None:
    try:
        for scope in scopes:
            parse_scope(scope)
    except ScopeInvalid as error:
        raise KeyInvalidRequest(f"{error}.") from None


def _check_limits(limits: tuple[Limit, ...]) -> None:
    """Two limits with one counter would charge it twice; a limit of nothing lets nothing through."""
    if len({limit_field(limit) for limit in limits}) < len(limits):
        raise KeyInvalidRequest("limits: two of them count the same meter in the same window; keep the one you mean.")
    if any(limit.units == 0 for limit in limits):
        raise KeyInvalidRequest("limits: a limit of 0 lets no call through; revoke the key instead.")


def _read_allow(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The networks in the spelling in which they are kept, each once."""
    if len(texts) > MAX_NETWORKS:
        raise KeyInvalidRequest(f"allow_ips: a key has at most {MAX_NETWORKS} addresses and networks.")
    try:
        return tuple(dict.fromkeys(network_text(parse_network(text)) for text in texts))
    except AllowInvalid as error:
        raise KeyInvalidRequest(f"allow_ips: {error}.") from None
