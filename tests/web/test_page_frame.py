from __future__ import annotations

from types import SimpleNamespace

import pytest

from gateway.clock import SystemClock
from gateway.settings import Settings
from gateway.web.page_frame import Visit, page_headers, payment_origins


@pytest.fixture
def live(monkeypatch):
    """A visit to a gateway that sells for real money, behind https."""
    for name, value in {
        "STRIPE_SECRET_KEY": "sk_live_0123456789abcdefghijkl",
        "STRIPE_WEBHOOK_SECRET": "whsec_0123456789abcdefghijkl",
        "TIERGATE_UPSTREAM_URL": "http://127.0.0.1:1",
        "TIERGATE_PUBLIC_URL": "https://api.example.com",
        "TIERGATE_KEY_PEPPER": "pepper-0123456789abcdefghijklmnop",
        "TIERGATE_ADMIN_TOKEN": "admin-0123456789abcdefghij",
        "TIERGATE_SERVER_TOKEN": "server-0123456789abcdefghij",
    }.items():
        monkeypatch.setenv(name, value)
    runtime = SimpleNamespace(settings=Settings(_env_file=None), clock=SystemClock())
    return Visit(request=None, runtime=runtime, signed_in=None)


def test_behind_https_the_session_never_travels_in_the_clear(live):
    assert live.session_cookie("8fK2mQ9xLpTa", "0123456789ab").secure
    assert live.no_session_cookie().secure


def test_a_form_may_lead_to_the_pages_of_stripe_and_nowhere_else(live):
    policy = page_headers(live.runtime.settings)["content-security-policy"]
    assert f"form-action 'self' {' '.join(payment_origins(live.runtime.settings))};" in policy
    assert "127.0.0.1" not in policy


def test_a_checkout_at_stripe_is_a_redirect(live):
    answer = live.leave_for("https://checkout.stripe.com/c/pay/cs_live_1#abc")
    assert (answer.status_code, answer.headers["location"]) == (303, "https://checkout.stripe.com/c/pay/cs_live_1#abc")


def test_a_checkout_on_a_domain_of_the_sellers_is_reached_through_a_page_of_ours(live):
    answer = live.leave_for("https://pay.example.com/c/pay/cs_live_1")
    assert answer.status_code == 200
    assert answer.headers["refresh"] == "0; url=https://pay.example.com/c/pay/cs_live_1"
    assert 'href="https://pay.example.com/c/pay/cs_live_1"' in answer.content


def test_where_money_is_real_no_page_says_test(live):
    assert "Test mode" not in live.page("leave.html", url="/", host="x").content
