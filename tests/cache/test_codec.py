from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway
from gateway.cache import CacheUnavailable, decode_account, encode_account
from gateway.core.account import Account, KeyRecord, Subscription
from gateway.core.key_order import MAX_LIMITS, MAX_NETWORKS, MAX_SCOPES, MAX_SCOPES_LENGTH, KeyOrder, checked_order
from gateway.core.limits import Concurrency, Quota, Rate
from gateway.provisioning import MAX_KEYS_PER_CUSTOMER

CHARGE_SOURCE = Path(gateway.__file__).parent / "cache" / "lua" / "charge.lua"

limits = st.one_of(st.builds(Rate), st.builds(Quota), st.builds(Concurrency))
keys = st.builds(KeyRecord, limits=st.lists(limits, max_size=3).map(tuple))
accounts = st.builds(
    Account,
    subscription=st.none() | st.builds(Subscription),
    keys=st.dictionaries(st.text("0123456789abcdef", min_size=64, max_size=64), keys, max_size=3),
)


@given(account=accounts)
def test_every_account_comes_back_as_it_was(account: Account) -> None:
    assert decode_account(encode_account(account)) == account


def test_an_account_of_the_largest_keys_there_may_be_is_sent_where_everybody_is_charged() -> None:
    order = KeyOrder(
        name="\U0001d538" * 80,
        scopes=tuple(f"GET /{n:02d}{'a' * 93}" for n in range(MAX_SCOPES)),
        allow=tuple(f"2001:db8:{n:x}:1111:2222:3333:4444:5555" for n in range(MAX_NETWORKS)),
    )
    assert sum(map(len, order.scopes)) == MAX_SCOPES_LENGTH
    rate = Rate(name="n" * 40, meter="m" * 40, units=10**9, window_ms=10**9, burst=10**9)
    keys = {
        f"{n:064x}": KeyRecord(
            key_id="k" * 12,
            name=order.name,
            last4="abcd",
            created_at=10**10,
            expires_at=10**10,
            scopes=order.scopes,
            limits=(rate,) * MAX_LIMITS,
            allow=checked_order(order, None, 0).allow,
        )
        for n in range(MAX_KEYS_PER_CUSTOMER)
    }
    large = int(re.search(r"LARGE = (\d+)", CHARGE_SOURCE.read_text())[1])
    assert len(encode_account(Account(customer_id="c", user_id="u", version=7, created_at=1, keys=keys))) < large


def test_members_of_a_later_release_are_ignored() -> None:
    account = Account(customer_id="c", user_id="u", version=7, created_at=1)
    later = json.loads(encode_account(account)) | {"colour": "blue"}
    assert decode_account(json.dumps(later).encode()) == account


@pytest.mark.parametrize("blob", [b"", b"{}", b"[]", b'{"customer_id": 3}', b"\xff"])
def test_what_is_not_an_account_is_not_guessed(blob: bytes) -> None:
    with pytest.raises(CacheUnavailable):
        decode_account(blob)
