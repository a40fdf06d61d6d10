"""The account as JSON in the cache.

Workers of two releases may share a cache: unknown members are ignored, missing ones take
their defaults. Limits say in `kind` what they are.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from gateway.cache.errors import CacheUnavailable
from gateway.core.account import Account, Grant, KeyRecord, SpendCap, Subscription, TierGrant
from gateway.core.limits import Concurrency, Limit, Quota, Rate


class _Rate(msgspec.Struct, tag_field="kind", tag="rate", frozen=True, kw_only=True, omit_defaults=True):
    name: str
    meter: str
    units: int
    window_ms: int
    burst: int
    group: str | None = None


class _Quota(msgspec.Struct, tag_field="kind", tag="quota", frozen=True, kw_only=True, omit_defaults=True):
    name: str
    meter: str
    units: int
    window_s: int | None
    group: str | None = None


class _Concurrency(msgspec.Struct, tag_field="kind", tag="concurrency", frozen=True, kw_only=True, omit_defaults=True):
    name: str
    units: int
    group: str | None = None


_Limit: TypeAlias = _Rate | _Quota | _Concurrency


class _Key(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    key_id: str
    name: str
    last4: str
    created_at: int
    expires_at: int | None = None
    scopes: tuple[str, ...] = ()
    limits: tuple[_Limit, ...] = ()
    allow: tuple[str, ...] = ()


class _Account(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    customer_id: str
    user_id: str
    version: int
    created_at: int
    blocked: bool = False
    subscription: Subscription | None = None
    keys: dict[str, _Key] = msgspec.field(default_factory=dict)
    grants: tuple[Grant, ...] = ()
    tier_grant: TierGrant | None = None
    spend_caps: tuple[SpendCap, ...] = ()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Account)


def encode_account(account: Account) -> bytes:
    """The account as JSON."""
    return _encoder.encode(
        _Account(
            customer_id=account.customer_id,
            user_id=account.user_id,
            version=account.version,
            created_at=account.created_at,
            blocked=account.blocked,
            subscription=account.subscription,
            keys={digest: _pack_key(key) for digest, key in account.keys.items()},
            grants=account.grants,
            tier_grant=account.tier_grant,
            spend_caps=account.spend_caps,
        )
    )


def decode_account(blob: bytes) -> Account:
    """The account that `encode_account` wrote, also if another release did.

    Raises:
        CacheUnavailable: It is not such JSON. Publish the ledger's with `replaces`.
    """
    try:
        stored = _decoder.decode(blob)
    except msgspec.MsgspecError as error:
        raise CacheUnavailable(reason="the account in the cache cannot be read") from error
    return Account(
        customer_id=stored.customer_id,
        user_id=stored.user_id,
        version=stored.version,
        created_at=stored.created_at,
        blocked=stored.blocked,
        subscription=stored.subscription,
        keys={digest: _unpack_key(key) for digest, key in stored.keys.items()},
        grants=stored.grants,
        tier_grant=stored.tier_grant,
        spend_caps=stored.spend_caps,
    )


def _pack_key(key: KeyRecord) -> _Key:
    return _Key(
        key_id=key.key_id,
        name=key.name,
        last4=key.last4,
        created_at=key.created_at,
        expires_at=key.expires_at,
        scopes=key.scopes,
        limits=tuple(_pack_limit(limit) for limit in key.limits),
        allow=key.allow,
    )


def _unpack_key(key: _Key) -> KeyRecord:
    return KeyRecord(
        key_id=key.key_id,
        name=key.name,
        last4=key.last4,
        created_at=key.created_at,
        expires_at=key.expires_at,
        scopes=key.scopes,
        limits=tuple(_unpack_limit(limit) for limit in key.limits),
        allow=key.allow,
    )


def _pack_limit(limit: Limit) -> _Limit:
    if isinstance(limit, Rate):
        return _Rate(
            name=limit.name,
            meter=limit.meter,
            units=limit.units,
            window_ms=limit.window_ms,
            burst=limit.burst,
            group=limit.group,
        )
    if isinstance(limit, Concurrency):
        return _Concurrency(name=limit.name, units=limit.units, group=limit.group)
    return _Quota(name=limit.name, meter=limit.meter, units=limit.units, window_s=limit.window_s, group=limit.group)


def _unpack_limit(limit: _Limit) -> Limit:
    if isinstance(limit, _Rate):
        return Rate(
            name=limit.name,
            meter=limit.meter,
            units=limit.units,
            window_ms=limit.window_ms,
            burst=limit.burst,
            group=limit.group,
        )
    if isinstance(limit, _Concurrency):
        return Concurrency(name=limit.name, units=limit.units, group=limit.group)
    return Quota(name=limit.name, meter=limit.meter, units=limit.units, window_s=limit.window_s, group=limit.group)
