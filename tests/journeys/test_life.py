"""A paying customer's whole life, undisturbed and disturbed, on two workers."""

import itertools
import os
import signal
import subprocess
import sys
import time

import pytest

from gateway.cache import CacheServer
from gateway.cli.life import World
from gateway.cli.life_steps import LIFE, burst
from tests.fakes.raw import flush_all, open_raw_blocking
from tests.journeys.buyers import kept_in_ledger
from tests.processes import descendants, living

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]


def play(world, between=None):
    for number, step in enumerate(LIFE, 1):
        try:
            step.do(world)
        except Exception as error:
            raise AssertionError(f"step {number}, {step.name!r}: {type(error).__name__}: {error}") from error
        if between is not None:
            between()


def test_the_demo_plays_a_whole_life_by_itself_and_says_each_step():
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "demo", "--check"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"All {len(LIFE)} steps as expected." in done.stdout
    assert done.stdout.count("expected:") == done.stdout.count("seen:") == len(LIFE)


@pytest.mark.slow
def test_a_life_goes_on_when_the_gateway_is_killed_between_any_two_steps(world):
    def kill():
        world.house.kill_gateway()
        world.house.start_gateway()

    play(world, kill)


@pytest.mark.slow
def test_a_life_goes_on_when_the_cache_is_flushed_between_any_two_steps(world, cache_url):
    def flush():
        if world.key:
            world.until("what was used is in the ledger", lambda: is_kept(world))
        with open_raw_blocking(cache_url or CacheServer.url_of(world.house.directory / "data")) as cache:
            flush_all(cache)

    play(world, flush)


def is_kept(world):
    """Whether a loss of the cache cannot take what was used in the running billing period."""
    row = world.period()
    return kept_in_ledger(world.house, since=row["window_starts_at"]) == row["used"]


@pytest.mark.slow
def test_a_life_comes_out_the_same_when_every_event_comes_twice_and_in_reverse(world):
    world.house.stripe("POST", "/_sandbox/faults", {"duplicate": 1, "order": "reverse"})
    play(world)


class Stalling(World):
    """A world that stands still for a while after so many answers: in that time a bucket of calls fills up."""

    answers = itertools.count(1)

    def patient(self, ask):
        answer = super().patient(ask)
        if next(self.answers) == 80:
            family = descendants(self.house.pids()["gateway"])
            for number in (signal.SIGSTOP, signal.SIGCONT):
                for pid in family:
                    os.kill(pid, number)
                time.sleep(2.5)
        return answer


@pytest.mark.slow
def test_calls_that_a_busy_machine_made_too_slowly_to_be_refused_are_made_again(world):
    for step in LIFE[:4]:
        step.do(world)
    assert "refused with Retry-After" in burst(Stalling(world.house, key=world.key))


@pytest.mark.slow
def test_the_last_step_waits_for_the_worker_that_still_has_an_event(world):
    """The gateway refuses to replay an event that a worker has just now, as busy."""
    for step in LIFE[:3]:
        step.do(world)
    world.until("the purchase was worked on", world.house.inbox_is_worked_off)
    (subscription,) = world.house.stripe("GET", "/v1/subscriptions")["data"]
    slow_read = {"path": "/v1/subscriptions", "method": "GET", "delay_s": 4.0, "times": 1}
    world.house.stripe("POST", "/_sandbox/faults", {"api": [slow_read]})
    metadata = {"metadata[note]": "anything"}
    world.house.stripe("POST", f"/v1/subscriptions/{subscription['id']}", form=metadata)
    world.house.stripe("POST", "/_sandbox/deliveries/drain")
    assert not world.house.inbox_is_worked_off()
    assert LIFE[-1].do(world).endswith("nothing changed")


@pytest.mark.slow
def test_nothing_is_left_running_when_the_gateway_is_killed(house):
    pid = house.pids()["gateway"]
    family = descendants(pid)
    assert family
    house.kill_gateway()
    assert not survivors(family)


def shown_demo(*arguments):
    """A demo that has started everything, as leader of a session as in a terminal; and what it has said so far."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    seen = []
    for line in demo.stdout:
        seen.append(line)
        if "Ctrl-C stops everything" in line:
            break
    return demo, "".join(seen)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="int"),
        pytest.param(signal.SIGTERM, id="term", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, id="hup", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_demo_cleanly(number):
    demo, seen = shown_demo()
    family = descendants(demo.pid)
    demo.send_signal(number)
    rest, _ = demo.communicate(timeout=90)
    assert demo.returncode == 0, seen + rest
    assert "Stopped; nothing is left behind." in rest
    assert not survivors(family)


@pytest.mark.slow
def test_a_terminal_that_is_closed_takes_the_demo_with_it():
    demo, _ = shown_demo()
    family = descendants(demo.pid)
    demo.stdout.close()
    for _ in range(2):  # a shell and the system both say so
        demo.send_signal(signal.SIGHUP)
    demo.wait(90)
    assert not survivors(family)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_demo_that_is_killed_leaves_no_process_behind(workers):
    demo, _ = shown_demo("--workers", workers)
    family = descendants(demo.pid)
    assert len(family) >= 4  # sandbox, gateway, guardian, cache server
    demo.kill()
    demo.communicate(timeout=90)
    assert not survivors(family)


def survivors(family):
    """Who of these processes is still there after a moment."""
    deadline = time.monotonic() + 60
    while (alive := living(family)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return alive
