from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.balancing import MAX_EJECTION_S, TRIAL_LASTS_S, Balancer
from gateway.core.upstream_policy import ActiveCheck, Balance, Ejection

weights = st.lists(st.integers(1, 12), min_size=1, max_size=6)
CHECK = ActiveCheck(path="/", healthy_after=2, unhealthy_after=3)


def firsts(balancer: Balancer, count: int, now: float = 0.0) -> list[int]:
    return [balancer.order(now)[0] for _ in range(count)]


def failing(balancer: Balancer, index: int, count: int, now: float) -> list[bool]:
    return [balancer.ended(index, ok=False, began_at=now, now=now) for _ in range(count)]


def is_in(balancer: Balancer) -> list[bool]:
    return [state.is_in for state in balancer.states()]


def test_turns_are_spread_as_nginx_spreads_them() -> None:
    assert firsts(Balancer([5, 1, 1]), 7) == [0, 0, 1, 0, 2, 0, 0]


@given(weights, st.integers(0, 100))
def test_weights_are_kept_exactly_over_every_cycle(shares: list[int], skipped: int) -> None:
    balancer = Balancer(shares)
    firsts(balancer, skipped)
    assert Counter(firsts(balancer, sum(shares))) == dict(enumerate(shares))


def test_one_server_has_one_order_whatever_happens_to_it() -> None:
    balancer = Balancer([3], ejection=Ejection(failures=1), check=CHECK)
    order = balancer.order(0.0)
    assert order == (0,)
    assert failing(balancer, 0, 2, 1.0) == [True, False]
    assert balancer.order(2.0) is order
    assert is_in(balancer) == [False]
    assert balancer.ended(0, ok=True, began_at=2.0, now=2.1)
    assert is_in(balancer) == [True]


def test_the_least_loaded_for_its_weight_is_first_and_equals_take_turns() -> None:
    balancer = Balancer([1, 2, 1], balance="least-loaded")
    assert balancer.order(0.0, [1, 1, 1])[0] == 1
    assert balancer.order(0.0, [1, 3, 2])[0] == 0
    assert Counter(balancer.order(0.0, [1, 2, 1])[0] for _ in range(8)) == {0: 2, 1: 4, 2: 2}


def test_failures_must_come_in_a_row() -> None:
    balancer = Balancer([1, 1], ejection=Ejection(failures=3))
    for _ in range(4):
        assert failing(balancer, 0, 2, 1.0) == [False, False]
        balancer.ended(0, ok=None, began_at=1.0, now=1.0)
        balancer.ended(0, ok=True, began_at=1.0, now=1.0)
    assert failing(balancer, 0, 3, 2.0) == [False, False, True]


def test_without_ejection_no_failure_takes_a_server_out() -> None:
    balancer = Balancer([1, 1], ejection=None)
    assert not any(failing(balancer, 0, 100, 1.0))


def test_a_server_that_is_out_comes_after_those_that_are_in_and_one_that_fails_its_checks_last() -> None:
    balancer = Balancer([1, 1, 1, 1], ejection=Ejection(failures=1), check=CHECK)
    for _ in range(3):
        balancer.checked(0, ok=False, now=0.0)
    failing(balancer, 1, 1, 0.0)
    assert {balancer.order(1.0) for _ in range(4)} == {(2, 3, 1, 0), (3, 2, 1, 0)}


def test_after_its_time_a_server_gets_one_request_and_no_second_one_meanwhile() -> None:
    balancer = Balancer([1, 1], ejection=Ejection(failures=1, for_s=10))
    failing(balancer, 0, 1, 0.0)
    assert set(firsts(balancer, 10, 9.9)) == {1}
    assert firsts(balancer, 10, 10.0).count(0) == 1
    assert set(firsts(balancer, 10, 20.0)) == {1}
    assert balancer.ended(0, ok=True, began_at=10.0, now=21.0)
    assert firsts(balancer, 10, 22.0).count(0) == 5


def test_each_trial_that_fails_doubles_the_time_up_to_five_minutes_and_a_success_forgets_it() -> None:
    balancer = Balancer([1, 1], ejection=Ejection(failures=3, for_s=10))
    failing(balancer, 0, 3, 0.0)
    now, times = 0.0, []
    for _ in range(8):
        retry_at = balancer.states()[0].retry_at
        assert retry_at is not None
        times.append(retry_at - now)
        now = retry_at
        assert 0 in firsts(balancer, 2, now)
        assert not balancer.ended(0, ok=False, began_at=now, now=now)
    assert times == [10, 20, 40, 80, 160, 300, 300, 300]
    retry_at = balancer.states()[0].retry_at
    assert retry_at is not None
    firsts(balancer, 2, retry_at)
    balancer.ended(0, ok=True, began_at=retry_at, now=retry_at)
    failing(balancer, 0, 3, retry_at + 1)
    assert balancer.states()[0].retry_at == retry_at + 11


def test_a_time_longer_than_the_cap_is_kept_and_never_doubled() -> None:
    balancer = Balancer([1, 1], ejection=Ejection(failures=1, for_s=MAX_EJECTION_S * 2))
    failing(balancer, 0, 1, 0.0)
    firsts(balancer, 2, 600.0)
    balancer.ended(0, ok=False, began_at=600.0, now=600.0)
    assert balancer.states()[0].retry_at == 1200.0


def test_a_trial_that_says_nothing_is_followed_by_another() -> None:
    balancer = Balancer([1, 1], ejection=Ejection(failures=1, for_s=10))
    failing(balancer, 0, 1, 0.0)
    assert 0 in firsts(balancer, 2, 10.0)
    balancer.ended(0, ok=None, began_at=10.0, now=11.0)
    assert 0 in firsts(balancer, 2, 12.0)


def test_a_trial_that_nobody_reports_on_shuts_no_server_out() -> None:
    balancer = Balancer([1, 1], ejection=Ejection(failures=1, for_s=10))
    failing(balancer, 0, 1, 0.0)
    assert 0 in firsts(balancer, 2, 10.0)
    assert 0 not in firsts(balancer, 4, 9.9 + TRIAL_LASTS_S)
    assert 0 in firsts(balancer, 2, 10.0 + TRIAL_LASTS_S)


def test_requests_from_before_a_change_say_nothing_after_it() -> None:
    balancer = Balancer([1, 1], ejection=Ejection(failures=2, for_s=10))
    failing(balancer, 0, 2, 5.0)
    assert not balancer.ended(0, ok=True, began_at=4.999, now=6.0)
    for began_at in (1.0, 5.0):
        assert not balancer.ended(0, ok=False, began_at=began_at, now=6.0)
    assert balancer.states()[0].retry_at == 15.0
    firsts(balancer, 2, 15.0)
    assert balancer.ended(0, ok=True, began_at=15.0, now=16.0)
    for _ in range(5):
        assert not balancer.ended(0, ok=False, began_at=14.0, now=17.0)
    assert is_in(balancer) == [True, True]


def test_when_all_are_out_all_share_the_work_and_a_success_brings_one_back() -> None:
    balancer = Balancer([1, 2], ejection=Ejection(failures=1, for_s=10))
    failing(balancer, 0, 1, 0.0)
    failing(balancer, 1, 1, 0.0)
    assert Counter(firsts(balancer, 6, 1.0)) == {0: 2, 1: 4}
    failing(balancer, 0, 5, 2.0)
    assert [state.retry_at for state in balancer.states()] == [10.0, 10.0]
    assert balancer.ended(1, ok=True, began_at=3.0, now=3.5)
    assert set(firsts(balancer, 6, 4.0)) == {1}


def test_when_all_are_out_those_that_pass_their_checks_are_tried_first() -> None:
    balancer = Balancer([1, 1, 1], ejection=Ejection(failures=1), check=CHECK)
    for index in (0, 1):
        for _ in range(3):
            balancer.checked(index, ok=False, now=0.0)
    failing(balancer, 2, 1, 0.0)
    assert set(firsts(balancer, 6, 1.0)) == {2}
    for _ in range(3):
        balancer.checked(2, ok=False, now=2.0)
    assert set(firsts(balancer, 6, 3.0)) == {0, 1, 2}


def test_checks_take_a_server_out_and_bring_it_back_at_their_thresholds() -> None:
    balancer = Balancer([1, 1], ejection=Ejection(), check=CHECK)
    verdicts = [balancer.checked(0, ok=ok, now=0.0) for ok in (False, False, True, False, False, False, False)]
    assert verdicts == [False, False, False, False, False, True, False]
    assert balancer.states()[0].reason == "check"
    assert set(firsts(balancer, 6, 10**9)) == {1}
    assert [balancer.checked(0, ok=ok, now=1.0) for ok in (True, False, True, True, True)] == [
        False, False, False, True, False,
    ]  # fmt: skip


def test_a_success_does_not_bring_back_a_server_that_fails_its_checks() -> None:
    balancer = Balancer([1, 1], ejection=Ejection(), check=CHECK)
    for _ in range(3):
        balancer.checked(0, ok=False, now=0.0)
    assert not balancer.ended(0, ok=True, began_at=1.0, now=1.0)
    assert is_in(balancer) == [False, True]


def test_checks_that_pass_end_an_ejection_if_they_came_after_it() -> None:
    balancer = Balancer([1, 1], ejection=Ejection(failures=1), check=CHECK)
    for _ in range(5):
        balancer.checked(0, ok=True, now=0.0)
    failing(balancer, 0, 1, 1.0)
    assert [balancer.checked(0, ok=True, now=2.0) for _ in range(2)] == [False, True]


def test_only_a_success_that_changes_nothing_finds_it_calm() -> None:
    balancer = Balancer([1, 1], ejection=Ejection(failures=2))
    assert balancer.is_calm
    failing(balancer, 0, 1, 1.0)
    assert not balancer.is_calm
    balancer.ended(0, ok=True, began_at=1.0, now=2.0)
    assert balancer.is_calm


@dataclass
class Plain:
    """What the docstring says about one server, told in the plainest way."""

    failures_allowed: int
    for_s: float
    failures: int = 0
    is_out: bool = False
    until: float = 0.0
    lasts_s: float = 0.0
    trial: int | None = None
    trial_began_at: float = 0.0
    open: set[int] = field(default_factory=set)
    ignored: set[int] = field(default_factory=set)
    """Requests that began before the last change."""

    def takes_a_trial(self, now: float) -> bool:
        is_free = self.trial is None or now - self.trial_began_at >= TRIAL_LASTS_S
        return self.is_out and now >= self.until and is_free

    def begin(self, request: int, now: float) -> None:
        if self.takes_a_trial(now):
            self.trial, self.trial_began_at = request, now
        self.open.add(request)

    def end(self, request: int, now: float, *, ok: bool | None) -> None:
        self.open.discard(request)
        if request in self.ignored:
            return
        was_trial = self.trial is not None and request >= self.trial
        if was_trial:
            self.trial = None
        if ok:
            self.failures = 0
            if self.is_out:
                self.is_out, self.trial, self.lasts_s = False, None, 0.0
                self.ignored |= self.open
        elif ok is False:
            self.failures += 1
            if was_trial if self.is_out else self.failures >= self.failures_allowed:
                self.lasts_s = min(self.lasts_s * 2 or self.for_s, MAX_EJECTION_S)
                self.is_out, self.until = True, now + self.lasts_s
                self.ignored |= self.open


balances = st.sampled_from(["round-robin", "least-loaded"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.just(0)),
        st.tuples(st.sampled_from(["bad", "bad", "ok", "none"]), st.integers(-2, 2)),
        st.tuples(st.just("wait"), st.integers(1, 12)),
    ),
    min_size=20,
    max_size=100,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=2), st.integers(1, 2), steps, balances)
def test_whatever_happens_an_ejected_server_gets_trials_only_and_nobody_is_left_out(
    shares: list[int], allowed: int, script: list[tuple[str, int]], balance: Balance
) -> None:
    shares = [*shares, 1]
    balancer = Balancer(shares, balance=balance, ejection=Ejection(failures=allowed, for_s=10))
    plain = [Plain(allowed, 10.0) for _ in shares]
    running: list[tuple[int, int, float]] = []
    now = 0.0
    for number, (step, value) in enumerate(script):
        now += 0.25
        if step == "ask":
            order = balancer.order(now, [sum(server == i for server, _, _ in running) for i in range(len(shares))])
            assert sorted(order) == list(range(len(shares)))
            may_be_first = [i for i, server in enumerate(plain) if not server.is_out or server.takes_a_trial(now)]
            assert order[0] in (may_be_first or order)
            out = [plain[i].is_out for i in order[1:]]
            assert out == sorted(out)
            plain[order[0]].begin(number, now)
            running.append((order[0], number, now))
        elif step == "wait":
            now += value
        elif running:
            index, request, began_at = running.pop(value % len(running))
            ok = {"ok": True, "bad": False, "none": None}[step]
            plain[index].end(request, now, ok=ok)
            balancer.ended(index, ok=ok, began_at=began_at, now=now)
        assert is_in(balancer) == [not server.is_out for server in plain]
        assert [s.retry_at for s in balancer.states()] == [s.until if s.is_out else None for s in plain]


@given(weights, st.data())
def test_nobody_who_is_in_starves_while_others_come_and_go(shares: list[int], data: st.DataObject) -> None:
    """Between two turns of a server that stays in, at most twice the cycle passes."""
    shares = [*shares, 1]
    steady = len(shares) - 1
    balancer = Balancer(shares, ejection=Ejection(failures=1, for_s=5))
    now, since = 0.0, 0
    for _ in range(data.draw(st.integers(1, 60))):
        now += data.draw(st.sampled_from([0.1, 1.0, 7.0]))
        first = balancer.order(now)[0]
        since = 0 if first == steady else since + 1
        assert since <= 2 * sum(shares)
        balancer.ended(first, ok=first == steady or data.draw(st.booleans()), began_at=now, now=now)


def test_an_answer_to_a_request_of_the_very_instant_a_server_went_out_brings_it_back() -> None:
    """Event loops tell time in milliseconds: what follows in the same one must not be lost."""
    balancer = Balancer([1], balance="round-robin", ejection=Ejection(failures=1, for_s=10), check=None)
    balancer.order(1.0)
    assert balancer.ended(0, ok=False, began_at=1.0, now=2.0)
    balancer.order(2.0)
    assert balancer.ended(0, ok=True, began_at=2.0, now=2.0)
    assert balancer.states()[0].is_in
