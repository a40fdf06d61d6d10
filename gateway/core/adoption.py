"""Which customer of ours a Stripe customer becomes, that was there before this gateway. Pure.

Laws:
- nothing is guessed: a Stripe customer without a usable user id, or one of two with the same, is a conflict;
- one that names our customer goes before one that only has the same user id, whichever is listed first;
- a binding that is there stays, so the same import again changes nothing;
- of one user never two customers, and of one customer never two Stripe customers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from gateway.core.user_id import UserIdInvalid, check_user_id

if TYPE_CHECKING:
    from collections.abc import Iterable

METADATA = "metadata:"
"""`metadata:KEY` takes the user id from that key of a Stripe customer's metadata."""

ConflictCode: TypeAlias = Literal[
    "no-user-id", "unusable-user-id", "same-user-id", "bound-elsewhere", "another-ledger", "another-mode", "not-synced"
]

FIXES: dict[ConflictCode, str] = {
    "no-user-id": "Put the user id where --user-id-from looks for it, then import again.",
    "unusable-user-id": "Correct the user id at Stripe, or choose another --user-id-from.",
    "same-user-id": "Leave the user id with the one that is to be used: take it off the others, or merge them.",
    "bound-elsewhere": "One user has one Stripe customer: move the subscriptions at Stripe, or use another user id.",
    "another-ledger": "Another gateway made it. Take tiergate_customer_id out of its metadata if that one is gone.",
    "another-mode": "Use the key of the mode that it lives in.",
    "not-synced": "It is bound; `tiergate sync --user-id` tries again.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedCustomer:
    """A Stripe customer as a list of all shows it; deleted ones are on no list."""

    stripe_customer_id: str
    is_live: bool
    email: str | None
    metadata: dict[str, str]
    """Never mutated after construction."""
    claimed_id: str | None = None
    """The customer of ours that its metadata names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A customer in the ledger."""

    customer_id: str
    user_id: str
    stripe_customer_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Why a Stripe customer is not imported, and what somebody has to do."""

    stripe_customer_id: str
    code: ConflictCode
    detail: str

    @property
    def fix(self) -> str:
        """What to do."""
        return FIXES[self.code]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What is to be done with a Stripe customer."""

    stripe_customer_id: str
    user_id: str
    customer_id: str | None
    """The customer of ours that it is bound to, or is to be bound to; None: a new one."""
    is_bound: bool
    """It is already."""


def find_user_id(listed: ListedCustomer, source: str) -> str | None:
    """The seller's id for a Stripe customer, by `metadata:KEY`, `email` or `id`; None: it has none there."""
    if source == "id":
        return listed.stripe_customer_id
    found = listed.email if source == "email" else listed.metadata.get(source.removeprefix(METADATA))
    return (found or "").strip() or None


def shared_ids(ids: Iterable[str | None]) -> frozenset[str]:
    """Those that more than one Stripe customer has."""
    return frozenset(one for one, times in Counter(ids).items() if one is not None and times > 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals:
    """Who else is listed: made of all Stripe customers before any is decided."""

    user_ids: frozenset[str]
    """Those that more than one has, of those whose metadata names no customer of ours."""
    claims: dict[str, int]
    """How many name each customer of ours. Never mutated after construction."""

    def are_there(self, listed: ListedCustomer, user_id: str | None, by_user: Known | None) -> bool:
        """Whether another Stripe customer is of the same user, or names the customer of ours that it would become.

        Args:
            listed: One of them.
            user_id: The seller's id for it.
            by_user: The customer of ours that has this user id.
        """
        if listed.claimed_id is not None:
            return self.claims[listed.claimed_id] > 1
        return user_id in self.user_ids or (by_user is not None and by_user.customer_id in self.claims)


def find_rivals(listed: Iterable[tuple[ListedCustomer, str | None]]) -> Rivals:
    """The rivals among all Stripe customers, each with the seller's id for it."""
    every = list(listed)
    return Rivals(
        user_ids=shared_ids(user_id for one, user_id in every if one.claimed_id is None),
        claims=dict(Counter(one.claimed_id for one, _ in every if one.claimed_id is not None)),
    )


def decide_adoption(
    listed: ListedCustomer,
    user_id: str | None,
    *,
    is_shared: bool,
    is_live: bool,
    bound: Known | None,
    claimed: Known | None,
    by_user: Known | None,
) -> Adoption | Conflict:
    """What is to be done with one Stripe customer.

    Args:
        listed: It.
        user_id: The seller's id for it, as far as one was found.
        is_shared: Whether another Stripe customer names the same customer of ours, or has the same user id.
        is_live: The mode of this gateway.
        bound: The customer of ours that has it already.
        claimed: The customer of ours that its metadata names.
        by_user: The customer of ours that has this user id.
    """
    if listed.is_live != is_live:
        mode = "live" if listed.is_live else "test"
        return _conflict(listed, "another-mode", f"it lives in {mode} mode")
    if bound is not None:
        return _adoption(listed, bound, is_bound=True)
    if listed.claimed_id is not None and claimed is None:
        return _conflict(listed, "another-ledger", f"its metadata names {listed.claimed_id}, who is not in this ledger")
    unusable = None if claimed is not None else _user_id_conflict(listed, user_id)
    if unusable is not None:
        return unusable
    return _among_ours(listed, user_id or "", claimed or by_user, is_shared=is_shared)


def _user_id_conflict(listed: ListedCustomer, user_id: str | None) -> Conflict | None:
    if user_id is None:
        return _conflict(listed, "no-user-id", "it has no user id")
    try:
        check_user_id(user_id)
    except UserIdInvalid as error:
        return _conflict(listed, "unusable-user-id", str(error))
    return None


def _among_ours(listed: ListedCustomer, user_id: str, ours: Known | None, *, is_shared: bool) -> Adoption | Conflict:
    if ours is not None and ours.stripe_customer_id is not None:
        return _conflict(listed, "bound-elsewhere", f"the user {ours.user_id!r} has {ours.stripe_customer_id} already")
    if is_shared:
        whose = user_id if ours is None else ours.user_id
        return _conflict(listed, "same-user-id", f"another Stripe customer is of the user {whose!r} too")
    if ours is not None:
        return _adoption(listed, ours, is_bound=False)
    return Adoption(stripe_customer_id=listed.stripe_customer_id, user_id=user_id, customer_id=None, is_bound=False)


def _conflict(listed: ListedCustomer, code: ConflictCode, detail: str) -> Conflict:
    return Conflict(stripe_customer_id=listed.stripe_customer_id, code=code, detail=detail)


def _adoption(listed: ListedCustomer, ours: Known, *, is_bound: bool) -> Adoption:
    return Adoption(
        stripe_customer_id=listed.stripe_customer_id,
        user_id=ours.user_id,
        customer_id=ours.customer_id,
        is_bound=is_bound,
    )
