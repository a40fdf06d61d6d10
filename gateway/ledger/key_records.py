"""A key's record as columns of its row, both ways, and as the audit log shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.core.account import KeyRecord
from gateway.ledger.limit_json import dump_limits, load_limits
from gateway.ledger.part import note
from gateway.ledger.tables import API_KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import RowMapping

    from gateway.ledger.rows import NewKey

RECORD_COLUMNS: Final = tuple(
    API_KEYS.c[name] for name in ("key_id", "name", "last4", "created_at", "expires_at", "scopes", "limits", "allow")
)


def read_record(row: RowMapping | Mapping[str, Any]) -> KeyRecord:
    """The key of a row that has `RECORD_COLUMNS`."""
    return KeyRecord(
        key_id=row["key_id"],
        name=row["name"],
        last4=row["last4"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        scopes=tuple(row["scopes"]),
        limits=load_limits(row["limits"]),
        allow=tuple(row["allow"]),
    )


def record_values(record: KeyRecord) -> dict[str, Any]:
    """The columns of a key that `read_record` reads."""
    return {
        "key_id": record.key_id,
        "name": note(record.name),
        "last4": record.last4,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "scopes": list(record.scopes),
        "limits": dump_limits(record.limits),
        "allow": list(record.allow),
    }


def shown(key: NewKey) -> dict[str, Any]:
    """A key for the audit log."""
    record = key.record
    return {
        "key_id": record.key_id,
        "name": note(record.name),
        "last4": record.last4,
        "expires_at": record.expires_at,
        "scopes": list(record.scopes),
        "limits": list(key.limit_texts),
        "allow": list(record.allow),
    }
