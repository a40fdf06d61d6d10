from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache import CacheUnavailable, decode_account, encode_account
from gateway.core.account import Account, KeyRecord, Subscription
from gateway.core.limits import Concurrency, Quota, Rate

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


def test_members_of_a_later_release_are_ignored() -> None:
    account = Account(customer_id="c", user_id="u", version=7, created_at=1)
    later = json.loads(encode_account(account)) | {"colour": "blue"}
    assert decode_account(json.dumps(later).encode()) == account


@pytest.mark.parametrize("blob", [b"", b"{}", b"[]", b'{"customer_id": 3}', b"\xff"])
def test_what_is_not_an_account_is_not_guessed(blob: bytes) -> None:
    with pytest.raises(CacheUnavailable):
        decode_account(blob)
