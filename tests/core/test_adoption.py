"""Which customer a Stripe customer becomes, over the whole product of what may be known of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from gateway.core.adoption import (
    FIXES,
    Adoption,
    Known,
    ListedCustomer,
    decide_adoption,
    find_user_id,
    shared_ids,
)

LISTED = ListedCustomer(
    stripe_customer_id="cus_1", is_live=False, email=" a@example.com", metadata={"user_id": "ada", "blank": " "}
)
OURS = Known(customer_id="c1", user_id="ada", stripe_customer_id=None)
TAKEN = replace(OURS, stripe_customer_id="cus_2")


def test_the_user_id_is_where_it_is_said_to_be() -> None:
    assert find_user_id(LISTED, "metadata:user_id") == "ada"
    assert find_user_id(LISTED, "metadata:blank") is None
    assert find_user_id(LISTED, "metadata:other") is None
    assert find_user_id(LISTED, "email") == "a@example.com"
    assert find_user_id(replace(LISTED, email=None), "email") is None
    assert find_user_id(LISTED, "id") == "cus_1"


def test_ids_of_more_than_one_are_shared() -> None:
    assert shared_ids(["a", "b", "a", None, None]) == {"a"}


def test_nothing_is_guessed_whatever_is_known() -> None:
    for live, user_id, is_shared, bound, claim, claimed, by_user in product(
        (False, True),
        (None, "ada", "signup:x", "a\x00b"),
        (False, True),
        (None, replace(OURS, stripe_customer_id="cus_1")),
        (None, "c1"),
        (None, OURS, TAKEN),
        (None, OURS, TAKEN),
    ):
        if claim is None and claimed is not None:
            continue
        decided = decide_adoption(
            replace(LISTED, is_live=live, claimed_id=claim),
            user_id,
            is_shared=is_shared,
            is_live=False,
            bound=bound,
            claimed=claimed,
            by_user=by_user,
        )
        case = (live, user_id, is_shared, bound, claim, claimed, by_user)
        if not isinstance(decided, Adoption):
            assert decided.fix == FIXES[decided.code], case
            assert bound is None or live, case
            continue
        assert not live, case
        if bound is not None:
            assert (decided.is_bound, decided.customer_id) == (True, bound.customer_id), case
            continue
        assert not is_shared, case
        assert not decided.is_bound, case
        ours = claimed if claim is not None else by_user
        assert ours is None or ours.stripe_customer_id is None, case
        assert decided.customer_id == (None if ours is None else ours.customer_id), case
        assert claim is None or claimed is not None, case
        assert claimed is not None or user_id == "ada", case


def code(**changes: object) -> str:
    known: dict[str, object] = {"bound": None, "claimed": None, "by_user": None, "is_shared": False, "is_live": False}
    listed = replace(LISTED, **{name: changes.pop(name) for name in ("claimed_id",) if name in changes})  # type: ignore[arg-type]
    decided = decide_adoption(listed, changes.pop("user_id", "ada"), **known | changes)  # type: ignore[arg-type]
    return "adopted" if isinstance(decided, Adoption) else decided.code


def test_each_conflict_has_its_word() -> None:
    assert code() == "adopted"
    assert code(is_live=True) == "another-mode"
    assert code(claimed_id="c9") == "another-ledger"
    assert code(user_id=None) == "no-user-id"
    assert code(user_id="signup:me") == "unusable-user-id"
    assert code(is_shared=True) == "same-user-id"
    assert code(by_user=TAKEN) == "bound-elsewhere"
    assert code(by_user=TAKEN, is_shared=True) == "bound-elsewhere"
    assert code(claimed_id="c1", claimed=OURS, user_id=None) == "adopted"
