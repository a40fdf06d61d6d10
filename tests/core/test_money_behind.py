"""Whose money paid for an invoice that asked for none: the credit that is used first, and what a gift is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money_behind import PaidInvoice, money_behind

PAID = "in_paid"


class Account:
    """A customer's balance as Stripe keeps it, and what its invoices come to."""

    def __init__(self) -> None:
        self.balance = 0
        self.invoices: list[PaidInvoice] = []

    def bill(self, invoice_id: str, asks: int, **gives_back: int) -> None:
        """One of `asks`, less what it gives back, and less the balance."""
        total = asks - sum(gives_back.values())
        self.invoices.append(
            PaidInvoice(
                invoice_id=invoice_id,
                finalized_at=1_800_000_000 + len(self.invoices),
                total=total,
                starting_balance=self.balance,
                amount_paid=max(total + self.balance, 0),
                gives_back=tuple(gives_back.items()),
            )
        )
        self.balance = min(total + self.balance, 0)

    def give(self, amount: int) -> None:
        self.balance -= amount

    def behind(self, invoice_id: str) -> set[str]:
        return set(money_behind(reversed(self.invoices))[invoice_id])


def account(**first: int) -> Account:
    """Who paid for something."""
    made = Account()
    made.bill(PAID, first.get("paid", 100))
    return made


def test_what_was_paid_for_is_paid_by_itself() -> None:
    made = account()
    made.give(50)
    made.bill("in_rest", 100)
    assert made.behind(PAID) == {PAID}
    assert made.behind("in_rest") == {"in_rest"}, "half of it was a gift, and half was paid"


def test_a_credit_is_the_money_that_it_gives_back_as_long_as_it_lasts() -> None:
    made = account()
    made.bill("in_fall", 10, in_paid=90)
    for number in range(8):
        made.bill(f"in_{number}", 10)
        assert made.behind(f"in_{number}") == {PAID}
    made.bill("in_last", 10)
    assert made.behind("in_fall") == {PAID}
    assert made.behind("in_last") == {"in_last"}, "it is used up"


def test_a_gift_is_nobodys_money() -> None:
    made = account()
    made.give(100)
    made.bill("in_next", 100)
    made.bill("in_trial", 0)
    assert made.behind("in_next") == made.behind("in_trial") == set()


def test_the_customers_own_is_used_before_a_gift_and_nothing_asked_uses_neither() -> None:
    made = account()
    made.give(100)
    made.bill("in_fall", 10, in_paid=35)
    made.bill("in_free", 0)
    made.bill("in_second", 20)
    made.bill("in_third", 20)
    made.bill("in_fourth", 20)
    assert made.behind("in_free") == set()
    assert made.behind("in_second") == made.behind("in_third") == {PAID}
    assert made.behind("in_fourth") == set()


def test_what_the_seller_takes_off_the_balance_is_used() -> None:
    made = account()
    made.bill("in_fall", 10, in_paid=90)
    made.balance = 0
    made.give(20)
    made.bill("in_second", 20)
    made.bill("in_third", 0)
    made.give(20)
    made.bill("in_fourth", 20)
    assert made.behind("in_second") == {PAID}
    assert made.behind("in_fourth") == set()


def test_a_credit_of_what_a_credit_paid_is_still_the_first_ones_money() -> None:
    made = account()
    made.bill("in_fall", 50, in_paid=50)
    made.bill("in_again", 10, in_fall=30)
    made.bill("in_next", 10)
    assert made.behind("in_again") == made.behind("in_next") == {PAID}


def test_a_credit_of_a_gift_and_of_what_was_never_paid_is_a_gift() -> None:
    made = account()
    made.give(100)
    made.bill("in_gift", 100)
    made.bill("in_fall", 10, in_gift=60, in_open=10)
    made.bill("in_next", 20)
    assert made.behind("in_fall") == made.behind("in_next") == set()


def test_of_two_payments_the_one_that_was_given_back_first_is_used_first() -> None:
    made = account()
    made.bill("in_change", 300)
    made.bill("in_fall", 0, in_change=20)
    made.bill("in_less", 0, in_paid=20)
    for name in ("in_a", "in_b", "in_c"):
        made.bill(name, 15)
    assert [made.behind(name) for name in ("in_a", "in_b")] == [{"in_change"}, {"in_change", PAID}]
    assert made.behind("in_c") == {"in_c"}


_STEPS = st.one_of(
    st.tuples(st.just("bill"), st.integers(0, 40)),
    st.tuples(st.just("give"), st.integers(1, 40)),
    st.tuples(st.just("fall"), st.integers(1, 40)),
)


@given(st.lists(_STEPS, max_size=25))
def test_it_is_as_if_each_cent_of_the_balance_were_marked(steps: list[tuple[str, int]]) -> None:
    made = account()
    purse: list[str] = []
    expected: dict[str, set[str]] = {}
    for number, (what, amount) in enumerate(steps):
        name = f"in_{number}"
        if what == "give":
            made.give(amount)
            purse += ["gift"] * amount
        elif what == "fall":
            made.bill(name, 0, in_paid=amount)
            purse += [PAID] * amount
        else:
            made.bill(name, amount)
            purse.sort(key=lambda cent: cent == "gift")
            taken, purse = purse[:amount], purse[amount:]
            expected[name] = {name} if len(taken) < amount else {cent for cent in taken if cent != "gift"}
    found = money_behind(made.invoices)
    assert {name: set(found[name]) for name in expected} == expected
