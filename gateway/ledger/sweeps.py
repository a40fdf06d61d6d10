"""How far the sweeps for events that did not arrive are: of each, one worker at a time, and whoever is next goes on.

A claim that is not renewed runs out. Nothing here reads a clock: callers pass `now`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, update

from gateway.ledger.part import LedgerPart, unbroken
from gateway.ledger.rows import Swept
from gateway.ledger.tables import SWEEPS


class Sweeps(LedgerPart):
    """Who sweeps, and how far it is."""

    @unbroken
    async def claim_sweep(self, name: str, worker: str, *, now: int, lease_s: int) -> Swept | None:
        """Take a sweep in hand for `lease_s` seconds.

        Args:
            name: Which.
            worker: Unique to one process's lifetime.
            now: Unix seconds.
            lease_s: How long the claim lasts, unless it is renewed.

        Returns:
            How far it is; None: another has it.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        claimed = {"claimed_by": worker, "claimed_until": now + lease_s}
        insert = self._database.insert(SWEEPS).values(name=name, types=[], **claimed)
        claim = insert.on_conflict_do_update(
            index_elements=[SWEEPS.c.name],
            set_=claimed,
            where=(SWEEPS.c.claimed_until <= now) | (SWEEPS.c.claimed_by == worker),
        ).returning(SWEEPS.c.place, SWEEPS.c.swept_to, SWEEPS.c.types)
        async with self._database.writing() as connection:
            row = (await connection.execute(claim)).mappings().one_or_none()
        return None if row is None else Swept(**{**row, "types": tuple(row["types"])})

    @unbroken
    async def keep_sweep(self, name: str, worker: str, place: dict[str, Any], *, now: int, lease_s: int) -> bool:
        """Say where it goes on, and renew the claim. False: it ran out and another has it.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        keep = update(SWEEPS).where(_is_claimed(name, worker)).values(place=place, claimed_until=now + lease_s)
        async with self._database.writing_once() as connection:
            return (await connection.execute(keep)).rowcount > 0

    @unbroken
    async def end_sweep(self, name: str, worker: str, swept: Swept) -> bool:
        """Give the claim up, and say how far it is. False: it ran out and another has it.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        end = (
            update(SWEEPS)
            .where(_is_claimed(name, worker))
            .values(place=swept.place, swept_to=swept.swept_to, types=list(swept.types), claimed_until=0)
        )
        async with self._database.writing_once() as connection:
            return (await connection.execute(end)).rowcount > 0


def _is_claimed(name: str, worker: str) -> ColumnElement[bool]:
    return (SWEEPS.c.name == name) & (SWEEPS.c.claimed_by == worker)
