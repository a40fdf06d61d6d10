"""API keys: issued, listed, replaced, revoked. Only digests are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import RowMapping, bindparam, func, or_, select, tuple_, update

from gateway.ledger.checkouts import claim_checkout_within, show_successor_within
from gateway.ledger.errors import CheckoutClaimed, KeyEnded, KeyExists, KeysFull
from gateway.ledger.key_records import read_record, record_values, shown
from gateway.ledger.part import LedgerPart, append_audit, raise_version, unbroken
from gateway.ledger.rows import KeyRow, NewKey
from gateway.ledger.tables import API_KEYS, CUSTOMERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

EXPIRED_KEYS_LEAVE_AFTER_S: Final = 300
"""How long an expired key stays in the account, and takes a place in it: longer than any clock is wrong."""


class Keys(LedgerPart):
    """The keys of every customer."""

    @unbroken
    async def add_key(
        self,
        customer_id: str,
        key: NewKey,
        *,
        now: int,
        actor: str,
        checkout: str | None = None,
        most: int | None = None,
    ) -> None:
        """Record a new key.

        Args:
            customer_id: Whose key it is.
            key: The key.
            now: Unix seconds.
            actor: Who issued it.
            checkout: The checkout session whose first key this is: it is claimed in the same
                transaction, so that neither a key without a claim nor a claim without a key can remain.
            most: Keys that the account may carry with this one, however many are added at once. One that expired
                counts for `EXPIRED_KEYS_LEAVE_AFTER_S` more, or keys that last a second would fill it without end.

        Raises:
            CustomerUnknown: No such customer.
            KeyExists: The key id or the digest is recorded already.
            KeysFull: It would be one too many.
            CheckoutClaimed: There is no such checkout of this customer, or it gave its key already.
            LedgerUnavailable: The ledger cannot be used.
        """
        because = "new key" if checkout is None else f"first key of {checkout}"
        async with self._database.writing() as connection:
            await self._insert(connection, customer_id, key, now=now, actor=actor, because=because)
            await _check_room(connection, customer_id, most)
            if checkout is not None and not await claim_checkout_within(
                connection, checkout, key.record.key_id, now=now, customer_id=customer_id
            ):
                raise CheckoutClaimed("this checkout does not exist or gave its key already")

    @unbroken
    async def replace_key(
        self,
        customer_id: str,
        key_id: str,
        successor: NewKey,
        *,
        ends_at: int,
        now: int,
        actor: str,
        checkout: str | None = None,
        most: int | None = None,
    ) -> None:
        """Record a successor and end the key that it replaces: both or neither, and once, however many try.

        Args:
            customer_id: Whose keys they are; another customer's key is left alone.
            key_id: The key to replace.
            successor: The new key.
            ends_at: When the old key ends. Up to `now`: it leaves the account at once. Later: it
                expires then, unless it expires sooner anyway.
            now: Unix seconds.
            actor: Who asked for it.
            checkout: The checkout session whose page showed the old key, and shows the successor.
            most: Keys that the account may carry, as in `add_key`, while both work. One that ends now makes
                its own room.

        Raises:
            KeysFull: Both would be one too many.
            KeyEnded: The customer has no such live key (any more), it has a successor already, or
                the checkout showed another.
            CustomerUnknown: No such customer.
            KeyExists: The successor's id or digest is recorded already.
            LedgerUnavailable: The ledger cannot be used.
        """
        successor_id = successor.record.key_id
        async with self._database.writing() as connection:
            await self._insert(
                connection, customer_id, successor, now=now, actor=actor, because=f"successor of {key_id}"
            )
            old = await _find_live(connection, customer_id, key_id, now)
            if old is None or old["replaced_by"] is not None:
                raise KeyEnded(f"there is no live key {key_id!r} without a successor")
            changes = {"replaced_by": successor_id, **_ending(old, ends_at, now)}
            await _end_within(connection, old, changes, now=now, actor=actor, because=f"replaced by {successor_id}")
            if ends_at > now:
                await _check_room(connection, customer_id, most)
            if checkout is not None and not await show_successor_within(
                connection, checkout, customer_id=customer_id, key_id=key_id, successor_id=successor_id
            ):
                raise KeyEnded(f"the checkout did not show the key {key_id!r} last")

    @unbroken
    async def revoke_key(self, customer_id: str, key_id: str, *, now: int, actor: str, because: str) -> bool:
        """End a key now: it leaves the account at once.

        Args:
            customer_id: Whose key it is; another customer's key is left alone.
            key_id: Which key.
            now: Unix seconds.
            actor: Who asked for it.
            because: Why, for the audit log.

        Returns:
            Whether that changed anything. False if the customer has no such live key.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        async with self._database.writing() as connection:
            await _lock_customer(connection, customer_id)
            key = await _find_live(connection, customer_id, key_id, now)
            if key is None:
                return False
            await _end_within(connection, key, {"revoked_at": now}, now=now, actor=actor, because=because)
            await _drop_expired(connection, customer_id, now)
            await raise_version(connection, customer_id)
        return True

    @unbroken
    async def list_keys(
        self,
        customer_id: str,
        *,
        include_revoked: bool = False,
        after: tuple[int, str] | None = None,
        limit: int | None = None,
    ) -> list[KeyRow]:
        """The customer's keys, oldest first.

        Args:
            customer_id: Whose.
            include_revoked: Those too that have ended for good: all that there ever were.
            after: `created_at` and `key_id` of the last of the page before.
            limit: At most so many; None: all.
        """
        place = (API_KEYS.c.created_at, API_KEYS.c.key_id)
        rows = select(API_KEYS).where(API_KEYS.c.customer_id == customer_id).order_by(*place).limit(limit)
        if not include_revoked:
            rows = rows.where(API_KEYS.c.revoked_at.is_(None))
        if after is not None:
            rows = rows.where(tuple_(*place) > after)
        async with self._database.reading() as connection:
            return [
                KeyRow(
                    customer_id=row["customer_id"],
                    record=read_record(row),
                    digest=row["digest"],
                    mode=row["mode"],
                    limit_texts=tuple(row["limit_texts"]),
                    revoked_at=row["revoked_at"],
                    last_used_at=row["last_used_at"],
                    replaced_by=row["replaced_by"],
                )
                for row in (await connection.execute(rows)).mappings()
            ]

    @unbroken
    async def touch_keys(self, last_used: Mapping[str, int]) -> None:
        """Record when keys were last used; an earlier instant than the recorded one changes nothing.

        This is no part of the account, so no version is raised. Unknown keys are ignored.
        """
        if not last_used:
            return
        touch = (
            update(API_KEYS)
            .where(
                API_KEYS.c.key_id == bindparam("touched"),
                or_(API_KEYS.c.last_used_at.is_(None), API_KEYS.c.last_used_at < bindparam("at")),
            )
            .values(last_used_at=bindparam("at"))
        )
        # In one order everywhere, so that two workers with the same keys never wait for each other crosswise.
        touches = [{"touched": key_id, "at": at} for key_id, at in sorted(last_used.items())]
        async with self._database.writing() as connection:
            await connection.execute(touch, touches)

    async def _insert(
        self, connection: AsyncConnection, customer_id: str, key: NewKey, *, now: int, actor: str, because: str
    ) -> None:
        """A new key, within the caller's transaction, which then holds the customer's row."""
        await raise_version(connection, customer_id)
        await _drop_expired(connection, customer_id, now)
        new = await connection.scalar(
            self._database.insert(API_KEYS)
            .values(
                customer_id=customer_id,
                digest=key.digest,
                mode=key.mode,
                limit_texts=list(key.limit_texts),
                **record_values(key.record),
            )
            .on_conflict_do_nothing()
            .returning(API_KEYS.c.key_id)
        )
        if new is None:
            raise KeyExists("the key id or the digest is recorded already")
        await append_audit(
            connection,
            at=now,
            customer_id=customer_id,
            actor=actor,
            action="key-issued",
            because=because,
            after=shown(key),
        )


async def _find_live(connection: AsyncConnection, customer_id: str, key_id: str, now: int) -> RowMapping | None:
    """A live key, within a transaction that holds the customer's row: it stays as it is meanwhile."""
    live = select(API_KEYS).where(API_KEYS.c.key_id == key_id, *_is_live(customer_id, now))
    return (await connection.execute(live)).mappings().one_or_none()


async def _check_room(connection: AsyncConnection, customer_id: str, most: int | None) -> None:
    """Refuse one key too many, within a transaction that holds the customer's row: nobody adds one meanwhile."""
    if most is None:
        return
    carried = (API_KEYS.c.customer_id == customer_id, API_KEYS.c.revoked_at.is_(None))
    keys = await connection.scalar(select(func.count()).select_from(API_KEYS).where(*carried))
    if keys is not None and keys > most:
        raise KeysFull(f"the account carries {keys - 1} keys already")


def _is_live(customer_id: str, now: int) -> tuple[ColumnElement[bool], ...]:
    return (
        API_KEYS.c.customer_id == customer_id,
        API_KEYS.c.revoked_at.is_(None),
        or_(API_KEYS.c.expires_at.is_(None), API_KEYS.c.expires_at > now),
    )


async def _end_within(
    connection: AsyncConnection, key: RowMapping, changes: dict[str, Any], *, now: int, actor: str, because: str
) -> None:
    """Write what ends a key that `_find_live` found, within the same transaction."""
    await connection.execute(update(API_KEYS).where(API_KEYS.c.key_id == key["key_id"]).values(changes))
    await append_audit(
        connection,
        at=now,
        customer_id=key["customer_id"],
        actor=actor,
        action="key-revoked" if "revoked_at" in changes else "key-retired",
        because=because,
        before={"key_id": key["key_id"], "expires_at": key["expires_at"]},
        after={"key_id": key["key_id"], **changes},
    )


def _ending(key: RowMapping, ends_at: int, now: int) -> dict[str, int]:
    """What ends a key at an instant. An overlap never lengthens its life."""
    if ends_at <= now:
        return {"revoked_at": now}
    expires_at = key["expires_at"]
    return {"expires_at": ends_at if expires_at is None else min(expires_at, ends_at)}


async def _lock_customer(connection: AsyncConnection, customer_id: str) -> None:
    await connection.execute(
        select(CUSTOMERS.c.customer_id).where(CUSTOMERS.c.customer_id == customer_id).with_for_update()
    )


async def _drop_expired(connection: AsyncConnection, customer_id: str, now: int) -> None:
    await connection.execute(
        update(API_KEYS)
        .where(
            API_KEYS.c.customer_id == customer_id,
            API_KEYS.c.revoked_at.is_(None),
            API_KEYS.c.expires_at < now - EXPIRED_KEYS_LEAVE_AFTER_S,
        )
        .values(revoked_at=API_KEYS.c.expires_at)
    )
