"""Customers and their keys: create, issue, rotate, revoke. Ledger first, then the cache.

Ids and secrets are drawn here, from the system's random source; texts of keys are
returned once and kept nowhere.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.core.account import LAST_INSTANT, KeyRecord
from gateway.core.errors import TiergateError
from gateway.core.keys import ALPHABET, CUSTOMER_ID_LENGTH, SECRET_LENGTH, KeyCodec, MintedKey
from gateway.core.limits import Limit, limit_field
from gateway.core.scope import ScopeInvalid, parse_scope
from gateway.core.user_id import OWN_PREFIX
from gateway.ledger import CustomerRow, KeyEnded, KeyRow, Ledger, NewKey
from gateway.publishing import Publisher

MAX_KEYS_PER_CUSTOMER = 50
MAX_NAME_LENGTH = 80
MAX_SCOPES = 20
MAX_LIMITS = 10
MAX_RULE_LENGTH = 200
"""Characters of one scope, or of one limit as written: every copy of the account and the audit log hold them all."""
_KEY_ID_LENGTH = 12


class KeyNotFound(TiergateError):
    """This customer has no live key with that id."""

    code = "key-not-found"


class KeyReplaced(TiergateError):
    """The key has a successor already: rotate that one.

    A second successor would be a key that nobody keeps track of, or one that ends with the
    first one's overlap.
    """

    code = "key-replaced"


class TooManyKeys(TiergateError):
    """The customer holds as many live keys as one customer may."""

    code = "too-many-keys"


class KeyInvalidRequest(TiergateError):
    """A name, scope, limit or expiry that a key cannot have. The message says which and why."""

    code = "invalid-request"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOrder:
    """What a new key shall be."""

    name: str = "default"
    scopes: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    limit_texts: tuple[str, ...] = ()
    """The limits as written, for people."""
    expires_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A key that was just created. `minted.text` is the only copy of its secret."""

    record: KeyRecord
    minted: MintedKey


def random_text(length: int) -> str:
    """`length` characters of the key alphabet, about 5.95 bits each."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


class Provisioning:
    """Use cases of customers and keys."""

    def __init__(self, ledger: Ledger, publisher: Publisher, codec: KeyCodec, clock: Clock) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._codec = codec
        self._clock = clock

    async def create_customer(self, user_id: str | None, *, actor: str) -> CustomerRow:
        """A new customer. Without a `user_id` it gets one of its own that no seller's id can equal.

        Raises:
            UserExists: Another customer has this `user_id`.
        """
        customer_id = random_text(CUSTOMER_ID_LENGTH)
        return await self._ledger.create_customer(
            customer_id=customer_id,
            user_id=user_id if user_id is not None else OWN_PREFIX + customer_id,
            now=self._now(),
            actor=actor,
        )

    async def issue(self, customer_id: str, order: KeyOrder, *, actor: str, checkout: str | None = None) -> IssuedKey:
        """A new key for a customer, live in the cache when this returns, if the cache is up.

        Args:
            customer_id: Whose key it will be.
            order: What it shall be.
            actor: For the audit log.
            checkout: The checkout session whose first key this is; it gives one key, once.

        Raises:
            KeyInvalidRequest: The order cannot be met.
            TooManyKeys: Revoke one first.
            CheckoutClaimed: The checkout gave its key already; nothing was issued.
        """
        self._check(order)
        await self._check_room(customer_id)
        issued = self._mint(customer_id, order)
        key = self._to_record(issued, order)
        await self._ledger.add_key(customer_id, key, now=self._now(), actor=actor, checkout=checkout)
        await self._publisher.publish_soon(customer_id)
        return issued

    async def list(self, customer_id: str, *, include_revoked: bool = False) -> list[KeyRow]:
        """The customer's keys, oldest first; never their texts."""
        return await self._ledger.list_keys(customer_id, include_revoked=include_revoked)

    async def rotate(
        self, customer_id: str, key_id: str, *, overlap_s: int, actor: str, checkout: str | None = None
    ) -> IssuedKey:
        """A successor with the same name, scopes, limits and expiry; the old key works for `overlap_s` more seconds.

        Both happen or neither does. A key is rotated once: then its successor is the one to rotate.

        Args:
            customer_id: Whose key it is.
            key_id: The key to replace.
            overlap_s: How long it still works.
            actor: For the audit log.
            checkout: The checkout session whose page showed the key, and shows its successor.

        Raises:
            KeyNotFound: No live key with that id.
            KeyReplaced: It has a successor already.
            TooManyKeys: There is no room for both during the overlap.
        """
        old = await self._find(customer_id, key_id)
        if old.replaced_by is not None:
            raise KeyReplaced(f"The key {key_id!r} was replaced by {old.replaced_by!r} already; rotate that one.")
        if overlap_s:
            await self._check_room(customer_id)
        order = KeyOrder(
            name=old.record.name,
            scopes=old.record.scopes,
            limits=old.record.limits,
            limit_texts=old.limit_texts,
            expires_at=old.record.expires_at,
        )
        issued, now = self._mint(customer_id, order), self._now()
        successor = self._to_record(issued, order)
        try:
            await self._ledger.replace_key(
                customer_id, key_id, successor, ends_at=now + overlap_s, now=now, actor=actor, checkout=checkout
            )
        except KeyEnded:
            raise KeyReplaced(f"The key {key_id!r} was replaced or revoked a moment ago.") from None
        await self._publisher.publish_soon(customer_id)
        return issued

    async def revoke(self, customer_id: str, key_id: str, *, actor: str, because: str = "revoked") -> bool:
        """End a key now. Every worker refuses it from its next request on.

        Returns:
            Whether the cache knows already. False: the cache is down; no request is decided
            until it is back, and it is repaired before it decides again.

        Raises:
            KeyNotFound: No live key with that id.
        """
        await self._find(customer_id, key_id)
        await self._ledger.revoke_key(customer_id, key_id, now=self._now(), actor=actor, because=because)
        return await self._publisher.publish_soon(customer_id)

    async def set_blocked(self, customer_id: str, *, blocked: bool, actor: str, because: str) -> bool:
        """Suspend a customer, or lift the suspension, whatever Stripe says. Returns whether the cache knows."""
        await self._ledger.set_blocked(customer_id, blocked, now=self._now(), actor=actor, because=because)
        return await self._publisher.publish_soon(customer_id)

    def _mint(self, customer_id: str, order: KeyOrder) -> IssuedKey:
        minted = self._codec.mint(customer_id, random_text(SECRET_LENGTH))
        record = KeyRecord(
            key_id=random_text(_KEY_ID_LENGTH),
            name=order.name.strip(),
            last4=minted.last4,
            created_at=self._now(),
            expires_at=order.expires_at,
            scopes=order.scopes,
            limits=order.limits,
        )
        return IssuedKey(record=record, minted=minted)

    def _to_record(self, issued: IssuedKey, order: KeyOrder) -> NewKey:
        return NewKey(
            record=issued.record, digest=issued.minted.digest, mode=self._codec.mode, limit_texts=order.limit_texts
        )

    async def _check_room(self, customer_id: str) -> None:
        live = [row for row in await self.list(customer_id) if not self._is_over(row)]
        if len(live) >= MAX_KEYS_PER_CUSTOMER:
            raise TooManyKeys(f"There are {len(live)} live keys already; revoke one first.")

    async def _find(self, customer_id: str, key_id: str) -> KeyRow:
        for row in await self.list(customer_id):
            if row.record.key_id == key_id and not self._is_over(row):
                return row
        raise KeyNotFound(f"There is no live key {key_id!r}.")

    def _is_over(self, row: KeyRow) -> bool:
        return row.record.expires_at is not None and row.record.expires_at <= self._now()

    def _check(self, order: KeyOrder) -> None:
        name = order.name.strip()
        if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
            raise KeyInvalidRequest(f"A key's name has 1 to {MAX_NAME_LENGTH} printable characters.")
        if order.expires_at is not None and order.expires_at <= self._now():
            raise KeyInvalidRequest("expires_at lies in the past.")
        if order.expires_at is not None and order.expires_at > LAST_INSTANT:
            raise KeyInvalidRequest("expires_at lies beyond the year 9999; leave it out for a key that lasts.")
        _check_texts("scopes", order.scopes, most=MAX_SCOPES)
        _check_texts("limits", order.limit_texts, most=MAX_LIMITS)
        _check_scopes(order.scopes)
        _check_limits(order.limits)

    def _now(self) -> int:
        return int(self._clock.now())


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
