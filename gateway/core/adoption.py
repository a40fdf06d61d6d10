"""Which customer of ours a Stripe customer becomes, that was there before this gateway, or that its ledger lost. Pure.

Laws:
- nothing is guessed: a Stripe customer without a usable user id, or one of two with the same, is a conflict;
- one that names our customer goes before one that only has the same user id, whichever is listed first;
- a binding that is there stays while Stripe has its customer, so the same import again changes nothing;
- of one user never two customers, and of one customer never two Stripe customers;
- one that this ledger made and lost is made again under the id and the user that its metadata names, and whose ledger
  it is its metadata says, or the operator where it does not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from gateway.core.keys import ALPHABET, CUSTOMER_ID_LENGTH
from gateway.core.user_id import OWN_PREFIX, UserIdInvalid, check_user_id

if TYPE_CHECKING:
    from collections.abc import Iterable

METADATA = "metadata:"
"""`metadata:KEY` takes the user id from that key of a Stripe customer's metadata."""

UNNAMED = "unnamed"
"""Stands for the ledger of customers that name none: they were made before labels did."""

ConflictCode: TypeAlias = Literal[
    "no-user-id", "unusable-user-id", "same-user-id", "bound-elsewhere", "another-ledger", "another-mode", "not-synced"
]

FIXES: dict[ConflictCode, str] = {
    "no-user-id": "Put the user id where --user-id-from looks for it, then import again.",
    "unusable-user-id": "Correct the user id at Stripe, or choose another --user-id-from.",
    "same-user-id": "Leave the user id with the one that is to be used: take it off the others, or delete those.",
    "bound-elsewhere": (
        "One user has one Stripe customer, and Stripe moves no subscription: delete the one that is not to be used, "
        "which cancels what it has, and import again; or use another user id."
    ),
    "another-ledger": (
        "Leave it if another gateway has that ledger. If it was this one's, which lost it: import again with "
        "--of-ledger and the name of that ledger. Else take tiergate_customer_id out of its metadata."
    ),
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
    claimed_user_id: str | None = None
    """The user that it is labelled with."""
    ledger_id: str | None = None
    """The ledger that `claimed_id` is of."""

    def is_of(self, ledgers: frozenset[str]) -> bool:
        """Whether it names a customer of one of these ledgers."""
        return self.claimed_id is not None and (self.ledger_id or UNNAMED) in ledgers


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
    lost_id: str | None = None
    """The id of the new one, which it had before this ledger lost it; None: one is drawn."""
    instead_of: str | None = None
    """The Stripe customer that ours had until now, which Stripe has deleted."""


def find_user_id(listed: ListedCustomer, source: str, ledgers: frozenset[str] = frozenset()) -> str | None:
    """The seller's id for a Stripe customer, by `metadata:KEY`, `email` or `id`; None: it has none there.

    One that a customer of `ledgers` made says whose it is, wherever others are looked for.
    """
    if listed.is_of(ledgers) and listed.claimed_user_id is not None:
        return listed.claimed_user_id
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
    lost: dict[str, int]
    """How many are there for each user whose customer this ledger lost. Never mutated after construction."""

    def are_there(
        self, listed: ListedCustomer, user_id: str | None, by_user: Known | None, *, is_lost: bool = False
    ) -> bool:
        """Whether another Stripe customer is of the same user, or names the customer of ours that it would become.

        Args:
            listed: One of them.
            user_id: The seller's id for it.
            by_user: The customer of ours that has this user id.
            is_lost: Whether the customer that its metadata names is one that this ledger lost.
        """
        if listed.claimed_id is not None and self.claims[listed.claimed_id] > 1:
            return True
        if listed.claimed_id is not None and not is_lost:
            return False
        if by_user is not None and by_user.customer_id in self.claims:
            return True
        lost = self.lost.get(user_id or "", 0)
        return lost > 1 if is_lost else lost > 0 or user_id in self.user_ids


def find_rivals(listed: Iterable[tuple[ListedCustomer, str | None]], lost_ids: frozenset[str] = frozenset()) -> Rivals:
    """The rivals among all Stripe customers, each with the seller's id for it.

    Args:
        listed: All of them.
        lost_ids: The customers of this ledger that some of them name, and that it lost.
    """
    every = list(listed)
    return Rivals(
        user_ids=shared_ids(user_id for one, user_id in every if one.claimed_id is None),
        claims=dict(Counter(one.claimed_id for one, _ in every if one.claimed_id is not None)),
        lost=dict(Counter(user_id for one, user_id in every if user_id is not None and one.claimed_id in lost_ids)),
    )


def decide_adoption(  # noqa: PLR0913 - they are all that is known of it
    listed: ListedCustomer,
    user_id: str | None,
    *,
    is_shared: bool,
    is_live: bool,
    bound: Known | None,
    claimed: Known | None,
    by_user: Known | None,
    ledgers: frozenset[str] = frozenset(),
    gone: str | None = None,
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
        ledgers: Whose customers are this ledger's, if they are not in it: it lost them.
        gone: The Stripe customer that ours is bound to, if Stripe says now that it was deleted.
    """
    if listed.is_live != is_live:
        mode = "live" if listed.is_live else "test"
        return _conflict(listed, "another-mode", f"it lives in {mode} mode")
    if bound is not None:
        return _adoption(listed, bound, is_bound=True)
    if listed.claimed_id is not None and claimed is None and not (listed.is_of(ledgers) and _is_id(listed.claimed_id)):
        whose = f"names no ledger ({UNNAMED})" if listed.ledger_id is None else f"is of the ledger {listed.ledger_id}"
        detail = f"its metadata names {listed.claimed_id}, who is not in this ledger, and {whose}"
        return _conflict(listed, "another-ledger", detail)
    unusable = None if claimed is not None else _user_id_conflict(listed, user_id)
    if unusable is not None:
        return unusable
    return _among_ours(listed, user_id or "", claimed or by_user, is_shared=is_shared, gone=gone)


def _is_id(text: str) -> bool:
    """Whether a customer can have this id: keys and counters are named after it."""
    return len(text) == CUSTOMER_ID_LENGTH and set(text) <= set(ALPHABET)


def _user_id_conflict(listed: ListedCustomer, user_id: str | None) -> Conflict | None:
    if user_id is None:
        return _conflict(listed, "no-user-id", "it has no user id")
    if listed.claimed_id is not None and user_id == OWN_PREFIX + listed.claimed_id:  # it signed up by itself
        return None
    try:
        check_user_id(user_id)
    except UserIdInvalid as error:
        return _conflict(listed, "unusable-user-id", str(error))
    return None


def _among_ours(
    listed: ListedCustomer, user_id: str, ours: Known | None, *, is_shared: bool, gone: str | None
) -> Adoption | Conflict:
    if ours is not None and ours.stripe_customer_id not in {None, gone}:
        return _conflict(listed, "bound-elsewhere", f"the user {ours.user_id!r} has {ours.stripe_customer_id} already")
    if is_shared:
        whose = user_id if ours is None else ours.user_id
        return _conflict(listed, "same-user-id", f"another Stripe customer is of the user {whose!r} too")
    if ours is not None:
        return replace(_adoption(listed, ours, is_bound=False), instead_of=ours.stripe_customer_id)
    return Adoption(
        stripe_customer_id=listed.stripe_customer_id,
        user_id=user_id,
        customer_id=None,
        is_bound=False,
        lost_id=listed.claimed_id,
    )


def _conflict(listed: ListedCustomer, code: ConflictCode, detail: str) -> Conflict:
    return Conflict(stripe_customer_id=listed.stripe_customer_id, code=code, detail=detail)


def _adoption(listed: ListedCustomer, ours: Known, *, is_bound: bool) -> Adoption:
    return Adoption(
        stripe_customer_id=listed.stripe_customer_id,
        user_id=ours.user_id,
        customer_id=ours.customer_id,
        is_bound=is_bound,
    )
