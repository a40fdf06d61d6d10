from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.account import Account
from gateway.ledger import KeyEnded
from tests.steps import found

NOW = 1_000

operations = st.one_of(
    st.tuples(st.just("block"), st.booleans()),
    st.tuples(st.just("issue"), st.none()),
    st.tuples(st.just("revoke"), st.integers(0, 3)),
    st.tuples(st.just("replace"), st.tuples(st.integers(0, 3), st.sampled_from([NOW - 1, NOW, NOW + 9, NOW + 5]))),
    st.tuples(st.just("touch"), st.integers(0, 3)),
    st.tuples(st.just("sync"), st.sampled_from([None, "active", "past_due"])),
    st.tuples(st.just("late sync"), st.sampled_from([None, "active"])),
    st.tuples(st.just("bind"), st.none()),
    st.tuples(st.just("settle"), st.integers(0, 9)),
    st.tuples(st.just("publish"), st.integers(0, 9)),
)


async def test_nobody_has_no_account(ledger):
    assert await ledger.load_account("nobody") is None


async def test_an_account_without_key_and_subscription_is_whole(ledger, customer):
    assert await ledger.load_account(customer) == Account(
        customer_id=customer, user_id=f"user of {customer}", version=1, created_at=1_000
    )


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example makes a customer of its own
)
@given(steps=st.lists(operations, min_size=1, max_size=8))
async def test_the_version_is_raised_exactly_when_the_account_changes(  # noqa: C901 - one branch a kind of step
    ledger, new_customer, new_key, unrecorded_key, subscription, steps
):
    customer = await new_customer(ledger)
    keys: list[str] = []

    def named(which: int) -> str:
        return keys[which] if which < len(keys) else "unknown"

    async def take(kind: str, value: object) -> None:  # noqa: C901 - one branch a kind of step
        match kind:
            case "block":
                await ledger.set_blocked(customer, value, now=NOW, actor="operator", because="x")
            case "issue":
                keys.append((await new_key(ledger, customer)).key_id)
            case "revoke":
                await ledger.revoke_key(customer, named(value), now=NOW, actor="operator", because="x")
            case "replace":
                which, ends_at = value
                with contextlib.suppress(KeyEnded):
                    await ledger.replace_key(
                        customer, named(which), unrecorded_key(), ends_at=ends_at, now=NOW, actor="operator"
                    )
            case "touch":
                await ledger.touch_keys(dict.fromkeys(keys, value))
            case "sync" | "late sync":
                fence = await ledger.take_fence(customer)
                snapshot = None if value is None else replace(subscription, status=value)
                if kind == "late sync":
                    fence -= 1
                await ledger.apply_subscription(customer, fence, found(snapshot), now=NOW, actor="stripe", because="x")
            case "bind":
                await ledger.bind_stripe_customer(customer, f"cus_{customer}")
            case "settle":
                await ledger.settle([])
            case "publish":
                await ledger.mark_published(customer, value)

    before = await ledger.load_account(customer)
    for kind, value in steps:
        entries = len(await ledger.list_audit(customer))
        await take(kind, value)
        after = await ledger.load_account(customer)
        changed = replace(after, version=0) != replace(before, version=0)
        assert after.version == before.version + changed, (kind, value)
        written = 2 * changed if kind == "replace" else changed  # one key ends and another begins
        assert len(await ledger.list_audit(customer)) == entries + written, (kind, value)
        before = after


async def test_the_version_and_the_contents_are_of_one_instant(ledger, customer, new_key, ledger_url, open_ledger):
    reader = await open_ledger(ledger_url)
    done = asyncio.Event()
    seen: dict[int, int] = {}

    async def read() -> None:
        while not done.is_set():
            account = await reader.load_account(customer)
            keys = len(account.keys)
            assert seen.setdefault(account.version, keys) == keys

    async def write() -> None:
        for _ in range(30):
            await new_key(ledger, customer)
        done.set()

    await asyncio.gather(write(), read(), read())
    assert all(keys == version - 1 for version, keys in seen.items())


async def test_writers_of_one_account_never_share_a_version(ledger, customer, new_key, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    await asyncio.gather(*(new_key((ledger, other)[i % 2], customer) for i in range(20)))
    account = await ledger.load_account(customer)
    assert (account.version, len(account.keys)) == (21, 20)
