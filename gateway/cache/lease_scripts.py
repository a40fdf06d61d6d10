"""The scripts that draw and end leases: what they are sent. Pure, as `scripts`; `core.lease` reads the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cache.keyspace import use_key
from gateway.cache.scripts import LEASE, LEASE_END, claims_numbers, pack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.lease import Draw


def prepare_draw(draw: Draw) -> bytes:
    """The whole command, as it goes over the wire.

    Raises:
        ValueError: A claim that the script could not honour exactly.
    """
    return pack(
        [
            b"EVALSHA",
            LEASE.sha,
            1,
            use_key(draw.customer_id),
            draw.version,
            draw.now_ms,
            draw.name,
            draw.wanted,
            draw.ttl_ms,
            claims_numbers(draw.claims),
            *(claim.field for claim in draw.claims),
        ]
    )


def prepare_lease_end(customer_id: str, name: str, parts: Iterable[tuple[str, int, int]]) -> bytes:
    """The whole command, as it goes over the wire.

    Args:
        customer_id: Whose lease.
        name: Of the lease.
        parts: Of each quota: field, units that were not used, start of its window.
    """
    arguments: list[str | bytes | int] = [b"EVALSHA", LEASE_END.sha, 1, use_key(customer_id), name]
    for part in parts:
        arguments += part
    return pack(arguments)
