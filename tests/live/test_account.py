from __future__ import annotations

import pytest

from tests.live.account import VARIABLE, real_account


@pytest.mark.parametrize("key", ["sk_live_51Hfake", "rk_live_51Hfake", "pk_test_51Hfake", "anything"])
def test_only_a_key_of_test_mode_is_ever_used(monkeypatch, key):
    monkeypatch.setenv(VARIABLE, key)
    with pytest.raises(pytest.fail.Exception) as refused:
        real_account()
    assert "nothing was sent" in str(refused.value)
    assert key not in str(refused.value)


def test_without_a_key_it_is_said_what_is_not_run(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"not run: {VARIABLE} is not set"):
        real_account()


def test_a_key_is_in_no_text_of_an_account(monkeypatch):
    monkeypatch.setenv(VARIABLE, "sk_test_51Hfake")
    account = real_account()
    assert account.base_url is None
    assert "51Hfake" not in repr(account)
