"""Customers and their keys: create, issue, rotate, revoke. Ledger first, then the cache.

Ids and secrets are drawn here, from the system's random source; texts of keys are
returned once and kept nowhere.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.core.account import KeyRecord
from gateway.core.audited import assess_by
from gateway.core.errors import TiergateError
from gateway.core.key_order import KeyOrder, check_issuer, checked_order
from gateway.core.keys import ALPHABET, CUSTOMER_ID_LENGTH, SECRET_LENGTH, KeyCodec, MintedKey
from gateway.core.policy import Policy
from gateway.core.user_id import OWN_PREFIX
from gateway.ledger import EXPIRED_KEYS_LEAVE_AFTER_S, CustomerRow, KeyEnded, KeyRow, KeysFull, Ledger, NewKey
from gateway.publishing import Publisher

MAX_KEYS_PER_CUSTOMER = 50
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
    """The account carries as many keys as one account may."""

    code = "too-many-keys"


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

    async def create_customer(
        self,
        user_id: str | None,
        *,
        actor: str,
        stripe_customer_id: str | None = None,
        customer_id: str | None = None,
    ) -> CustomerRow:
        """A new customer. Without a `user_id` it gets one of its own that no seller's id can equal.

        Args:
            user_id: The seller's id.
            actor: For the audit log.
            stripe_customer_id: What it is bound to from the beginning.
            customer_id: The id that it had in this ledger before it was lost; None: one is drawn.

        Raises:
            UserExists: Another customer has this `user_id`.
            CustomerExists: Another customer has this Stripe customer, or this id.
        """
        customer_id = customer_id or random_text(CUSTOMER_ID_LENGTH)
        return await self._ledger.create_customer(
            customer_id=customer_id,
            user_id=user_id if user_id is not None else OWN_PREFIX + customer_id,
            now=self._now(),
            actor=actor,
            stripe_customer_id=stripe_customer_id,
        )

    async def issue(
        self,
        customer_id: str,
        order: KeyOrder,
        *,
        actor: str,
        issuer: KeyRecord | None = None,
        checkout: str | None = None,
    ) -> IssuedKey:
        """A new key for a customer, live in the cache when this returns, if the cache is up.

        Args:
            customer_id: Whose key it will be.
            order: What it shall be.
            actor: For the audit log.
            issuer: The customer's key that asks. Its expiry and networks are the new key's too,
                where the order says nothing. None: the seller asks, who may issue any.
            checkout: The checkout session whose first key this is; it gives one key, once.

        Raises:
            KeyInvalidRequest: The order cannot be met.
            BeyondIssuer: The order asks for more than the issuer has.
            TooManyKeys: Revoke one first.
            CheckoutClaimed: The checkout gave its key already; nothing was issued.
        """
        order = checked_order(order, issuer, self._now())
        issued = self._mint(customer_id, order)
        key = self._to_record(issued, order)
        try:
            await self._ledger.add_key(
                customer_id, key, now=self._now(), actor=actor, checkout=checkout, most=MAX_KEYS_PER_CUSTOMER
            )
        except KeysFull:
            raise _too_many() from None
        await self._publisher.publish_soon(customer_id)
        return issued

    async def list(
        self,
        customer_id: str,
        *,
        include_revoked: bool = False,
        after: tuple[int, str] | None = None,
        limit: int | None = None,
    ) -> list[KeyRow]:
        """The customer's keys, oldest first; never their texts. `after` and `limit` as `Ledger.list_keys` has them."""
        return await self._ledger.list_keys(customer_id, include_revoked=include_revoked, after=after, limit=limit)

    async def rotate(
        self,
        customer_id: str,
        key_id: str,
        *,
        overlap_s: int,
        actor: str,
        issuer: KeyRecord | None = None,
        checkout: str | None = None,
    ) -> IssuedKey:
        """A successor that may do and lasts the same; the old key works for `overlap_s` more seconds.

        Both happen or neither does. A key is rotated once: then its successor is the one to rotate.

        Args:
            customer_id: Whose key it is.
            key_id: The key to replace.
            overlap_s: How long it still works.
            actor: For the audit log.
            issuer: The customer's key that asks. None: the seller asks, who may rotate any.
            checkout: The checkout session whose page showed the key, and shows its successor.

        Raises:
            BeyondIssuer: The successor would last longer, or work in more networks, than the issuer.
            KeyNotFound: No live key with that id.
            KeyReplaced: It has a successor already.
            TooManyKeys: There is no room for both during the overlap.
        """
        old = await self._find(customer_id, key_id)
        if old.replaced_by is not None:
            raise KeyReplaced(f"The key {key_id!r} was replaced by {old.replaced_by!r} already; rotate that one.")
        order = KeyOrder(
            name=old.record.name,
            scopes=old.record.scopes,
            limits=old.record.limits,
            limit_texts=old.limit_texts,
            allow=old.record.allow,
            expires_at=old.record.expires_at,
        )
        check_issuer(order, issuer)
        issued, now = self._mint(customer_id, order), self._now()
        successor = self._to_record(issued, order)
        try:
            await self._ledger.replace_key(
                customer_id,
                key_id,
                successor,
                ends_at=now + overlap_s,
                now=now,
                actor=actor,
                checkout=checkout,
                most=MAX_KEYS_PER_CUSTOMER,
            )
        except KeysFull:
            raise _too_many() from None
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

    async def set_blocked(
        self, customer_id: str, policy: Policy | None, *, blocked: bool, actor: str, because: str
    ) -> bool:
        """Suspend a customer, or lift the suspension, whatever Stripe says. Returns whether the cache knows.

        Without a policy the audit log does not say what that did to access.
        """
        now = self._now()
        assess = None if policy is None else assess_by(policy, now)
        await self._ledger.set_blocked(customer_id, blocked, now=now, actor=actor, because=because, assess=assess)
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
            allow=order.allow,
        )
        return IssuedKey(record=record, minted=minted)

    def _to_record(self, issued: IssuedKey, order: KeyOrder) -> NewKey:
        return NewKey(
            record=issued.record, digest=issued.minted.digest, mode=self._codec.mode, limit_texts=order.limit_texts
        )

    async def _find(self, customer_id: str, key_id: str) -> KeyRow:
        for row in await self.list(customer_id):
            if row.record.key_id == key_id and not self._is_over(row):
                return row
        raise KeyNotFound(f"There is no live key {key_id!r}.")

    def _is_over(self, row: KeyRow) -> bool:
        return row.record.expires_at is not None and row.record.expires_at <= self._now()

    def _now(self) -> int:
        return int(self._clock.now())


def _too_many() -> TooManyKeys:
    return TooManyKeys(
        f"There are {MAX_KEYS_PER_CUSTOMER} keys already; revoke one first. "
        f"Those that expired count for {EXPIRED_KEYS_LEAVE_AFTER_S // 60} minutes more."
    )
