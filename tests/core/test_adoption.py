"""Which customer a Stripe customer becomes, over the whole product of what may be known of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from gateway.core.adoption import (
    FIXES,
    UNNAMED,
    Adoption,
    Known,
    ListedCustomer,
    decide_adoption,
    find_rivals,
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
    assert code(by_user=TAKEN, gone="cus_2") == "adopted"
    assert code(by_user=TAKEN, gone="cus_2", is_shared=True) == "same-user-id"


LOST = replace(LISTED, claimed_id="customer0001", claimed_user_id="ada", ledger_id="here")
HERE = frozenset({"here"})


def adoption_of(listed: ListedCustomer, user_id: str, ledgers: frozenset[str], by_user: Known | None = None) -> object:
    decided = decide_adoption(
        listed, user_id, is_shared=False, is_live=False, bound=None, claimed=None, by_user=by_user, ledgers=ledgers
    )
    return (decided.customer_id, decided.lost_id) if isinstance(decided, Adoption) else decided.code


def test_whom_this_ledger_lost_is_made_again_and_whose_label_is_anothers_is_not() -> None:
    unnamed = replace(LOST, ledger_id=None)
    assert adoption_of(LOST, "ada", HERE) == (None, "customer0001")
    assert adoption_of(LOST, "ada", frozenset()) == "another-ledger"
    assert adoption_of(LOST, "ada", frozenset({UNNAMED})) == "another-ledger"
    assert adoption_of(unnamed, "ada", HERE) == "another-ledger"
    assert adoption_of(unnamed, "ada", frozenset({UNNAMED})) == (None, "customer0001")


def test_a_lost_id_that_no_customer_can_have_is_not_made() -> None:
    for text in ("customer1", "customer 001", "customer{001", "customer00011"):
        assert adoption_of(replace(LOST, claimed_id=text), "ada", HERE) == "another-ledger"


def test_who_signed_up_alone_and_was_lost_keeps_its_own_id_and_no_other_of_that_kind() -> None:
    assert adoption_of(LOST, "signup:customer0001", HERE) == (None, "customer0001")
    assert adoption_of(LOST, "signup:customer0002", HERE) == "unusable-user-id"


def test_a_lost_customer_whose_user_is_here_again_is_bound_to_that_one() -> None:
    assert adoption_of(LOST, "ada", HERE, by_user=OURS) == ("c1", None)
    assert adoption_of(LOST, "ada", HERE, by_user=TAKEN) == "bound-elsewhere"


def test_a_label_of_this_ledger_says_whose_it_is_wherever_user_ids_are_looked_for() -> None:
    labelled = replace(LOST, claimed_user_id="grace")
    assert find_user_id(labelled, "email", HERE) == "grace"
    assert find_user_id(labelled, "email", frozenset({"there"})) == "a@example.com"


def test_two_that_are_labelled_as_one_lost_user_are_rivals_and_a_lost_one_goes_before_a_stranger() -> None:
    twin = replace(LOST, stripe_customer_id="cus_2", claimed_id="customer0002")
    stranger = replace(LISTED, stripe_customer_id="cus_3")
    lost = frozenset({"customer0001", "customer0002"})
    both = find_rivals([(LOST, "ada"), (twin, "ada"), (stranger, "ada")], lost)
    assert [both.are_there(one, "ada", None, is_lost=one is not stranger) for one in (LOST, twin, stranger)] == [
        True
    ] * 3
    alone = find_rivals([(LOST, "ada"), (stranger, "ada")], frozenset({"customer0001"}))
    assert not alone.are_there(LOST, "ada", None, is_lost=True)
    assert alone.are_there(stranger, "ada", None)
    named = find_rivals([(LOST, "ada"), (replace(LISTED, claimed_id="c1"), "bob")], frozenset({"customer0001"}))
    assert named.are_there(LOST, "ada", OURS, is_lost=True)
