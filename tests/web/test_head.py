"""HEAD is served wherever GET is (RFC 9110 section 9.1)."""

import pytest

BESIDE_THE_DATE = {"date"}


def fields_of(answer):
    return sorted((name, value) for name, value in answer.headers.items() if name not in BESIDE_THE_DATE)


@pytest.mark.parametrize(
    "path",
    [
        "/_tiergate/health",
        "/_tiergate/errors",
        "/_tiergate/errors/rate-limited",
        "/_tiergate/docs/openapi.json",
        "/_tiergate/jwks.json",
        "/_tiergate/pricing",
        "/_tiergate/sign-in",
        "/_tiergate/account",
        "/_tiergate/static/style.css",
        "/api/v1/plans",
    ],
)
def test_head_is_answered_as_get_without_the_body(gateway, path):
    browser = gateway.browser()
    got, asked = browser.get(path), browser.head(path)
    assert (asked.status_code, fields_of(asked)) == (got.status_code, fields_of(got))
    assert asked.content == b""
    assert browser.get("/_tiergate/health").json()["status"] == "ok"  # nothing was left on the connection


def test_head_needs_what_get_needs(gateway):
    assert gateway.browser().head("/_tiergate/metrics").status_code == 401
    assert gateway.browser().head("/_tiergate/admin/customers").status_code == 401
    assert gateway.admin.head("/_tiergate/metrics").status_code == 200


@pytest.mark.parametrize("method", ["PUT", "OPTIONS"])
def test_head_is_named_among_the_methods_of_a_path(gateway, method):
    allowed = gateway.browser().request(method, "/api/v1/plans").headers["allow"]
    assert set(allowed.replace(" ", "").split(",")) == {"GET", "HEAD", "OPTIONS"}


def test_head_is_not_possible_where_get_is_not(gateway):
    answer = gateway.browser().head("/api/v1/create-checkout")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].replace(" ", "").split(",")) == {"OPTIONS", "POST"}
    assert answer.content == b""
