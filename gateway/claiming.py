"""USE CASE: the first key of a checkout, shown once, to the browser that started it.

A checkout that anybody may start stores the digest of a claim secret which only that
browser has. Whoever has the secret, once Stripe says that the checkout is paid, gets a key:
claim and key are one transaction of the ledger, so two loads at once give one key in total,
and there is neither a claim without a key nor a key without a claim.

A key that was shown and not copied can be replaced, by the same browser only: within an
hour of the claim, three times at most, and only while the key that was shown last is live
and the account's only one. A key that somebody revoked does not come back. The old key ends
and the new one begins in one transaction: of several replacements at once, one goes on.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from gateway.clock import Clock
from gateway.core.errors import TiergateError
from gateway.core.key_order import KeyOrder
from gateway.core.keys import KeyCodec
from gateway.ledger import CheckoutClaimed, CheckoutRow, KeyRow
from gateway.provisioning import IssuedKey, KeyNotFound, KeyReplaced, Provisioning
from gateway.sync import Arrivals

REPLACE_WITHIN_S: Final = 3600
MOST_REPLACEMENTS: Final = 3

ClaimState: TypeAlias = Literal["shown", "claimed", "waiting", "expired"]


class NotReplaceable(TiergateError):
    """The key of this checkout cannot be replaced, or not by this caller. The message says why."""

    code = "not-allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What came of asking for the first key."""

    state: ClaimState
    """`shown`: here it is. `claimed`: it was shown before. `waiting`: not paid yet, or Stripe
    does not say. `expired`: it will never be paid."""
    issued: IssuedKey | None = None
    """Set if and only if `shown`."""


class FirstKeys:
    """Hands out and replaces the first keys of checkouts."""

    def __init__(
        self,
        *,
        arrivals: Arrivals,
        provisioning: Provisioning,
        codec: KeyCodec,
        clock: Clock,
    ) -> None:
        self._arrivals = arrivals
        self._provisioning = provisioning
        self._codec = codec
        self._clock = clock

    def may_claim(self, checkout: CheckoutRow, secret: str | None) -> bool:
        """Whether `secret` is the one that the browser of this checkout got."""
        if checkout.claim_digest is None or secret is None:
            return False
        return hmac.compare_digest(self._codec.claim_digest(secret), checkout.claim_digest)

    async def claim(self, checkout: CheckoutRow) -> Claim:
        """The first key, once, if the checkout is paid. The caller has passed `may_claim`.

        Raises:
            LedgerUnavailable: Nothing was issued, or what was issued can be replaced.
        """
        if checkout.claimed_at is not None:
            return Claim(state="claimed")
        arrival = await self._arrivals.arrive(checkout)
        if arrival != "paid":
            return Claim(state=arrival)
        try:
            issued = await self._provisioning.issue(
                checkout.customer_id, KeyOrder(), actor=_actor(checkout), checkout=checkout.session_id
            )
        except CheckoutClaimed:
            return Claim(state="claimed")
        return Claim(state="shown", issued=issued)

    async def replace(self, checkout: CheckoutRow) -> IssuedKey:
        """End the key that was shown, and issue another. The caller has passed `may_claim`.

        Raises:
            NotReplaceable: The rules in this module's head say no. Nothing was changed.
            LedgerUnavailable: Nothing was changed, or nobody knows; it may be tried again.
        """
        if checkout.claimed_at is None:
            raise NotReplaceable("No key was shown yet.")
        now = int(self._clock.now())
        if now > checkout.claimed_at + REPLACE_WITHIN_S:
            raise NotReplaceable("A key can be replaced here for one hour after it was first shown.")
        rows = await self._provisioning.list(checkout.customer_id, include_revoked=True)
        live = [row.record.key_id for row in rows if _is_live(row, now)]
        if checkout.key_id is None or checkout.key_id not in live:
            raise _not_live()
        if len(live) > 1:
            raise NotReplaceable("This account has several keys by now. Sign in with one of them to manage them.")
        if sum(row.replaced_by is not None for row in rows) >= MOST_REPLACEMENTS:
            raise NotReplaceable(f"The key was replaced {MOST_REPLACEMENTS} times already.")
        try:
            return await self._provisioning.rotate(
                checkout.customer_id, checkout.key_id, overlap_s=0, actor=_actor(checkout), checkout=checkout.session_id
            )
        except (KeyNotFound, KeyReplaced):
            raise _not_live() from None


def _actor(checkout: CheckoutRow) -> str:
    return f"customer:{checkout.customer_id}"


def _is_live(row: KeyRow, now: int) -> bool:
    return row.revoked_at is None and (row.record.expires_at is None or row.record.expires_at > now)


def _not_live() -> NotReplaceable:
    return NotReplaceable("The key that was shown is not live any more: it was revoked, or replaced in another tab.")
