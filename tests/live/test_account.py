from __future__ import annotations

from dataclasses import replace

import pytest

from tests.live.account import VARIABLE, StripeAccount, real_account, sandbox_account
from tests.live.catalog import PRICES


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


def left(account: StripeAccount) -> list[str]:
    """What there is on sale, and what else a run makes."""
    found = account.ask("GET", "coupons", {})["data"]
    for path in ("products", "prices", "billing_portal/configurations"):
        found += account.ask("GET", path, {"active": "true", "limit": "100"})["data"]
    found += account.ask("GET", "billing/meters", {"status": "active"})["data"]
    found += account.ask("GET", "entitlements/features", {"archived": "false"})["data"]
    return [one["id"] for one in found if not one.get("is_default")]


@pytest.mark.slow
def test_what_a_run_made_is_taken_away_whatever_is_gone_already_or_fails(tmp_path):
    with sandbox_account(tmp_path) as account:
        account.stock()
        made = left(account)
        assert len(made) == 2 * (len(PRICES) + 2) + 4  # a product and a price of each, and one of the rest
        account.ask("DELETE", f"coupons/{account.names.coupon}", {})
        account.remove_later("DELETE", "customers/cus_none")
        account.remove_later("POST", f"billing/meters/{account.meter_id}/deactivate")  # the second one is refused
        with pytest.raises(AssertionError, match="left behind"):
            account.clear()
        after = replace(account, removals=[])
        assert left(after) == []
        after.clear()
