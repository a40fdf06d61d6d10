"""Limits on a group of routes, through a running gateway: what callers are told of them."""

from __future__ import annotations

import pytest

from tests.web.policy_files import TIERS, write_policy

pytestmark = pytest.mark.slow

ROUTES = """\
routes:
  - {match: /v1/render/**, group: renders, cost: 2}
  - {match: "* /v1/**"}
"""


@pytest.fixture(scope="module")
def grouped(start_shared, tmp_path_factory, stage):
    tiers = TIERS.replace("1_000 per second,", "1_000 per second, 4 per day on renders, 3 concurrent on renders,")
    directory = write_policy(tmp_path_factory.mktemp("policies"), ROUTES, tiers=tiers)
    return start_shared(TIERGATE_UPSTREAM_URL=stage.add("api").url, TIERGATE_POLICY_DIR=str(directory))


def test_its_limits_are_told_where_they_count_and_nowhere_else(grouped):
    _, _, client = grouped.customer()
    other, drawn = client.get("/v1/x"), client.get("/v1/render/x")
    assert "renders" not in other.headers["ratelimit-policy"] + other.headers["ratelimit"]
    assert (
        '"renders-day";q=4;w=86400, "renders-concurrent";q=3;qu="concurrent-requests"'
        in (drawn.headers["ratelimit-policy"])
    )
    assert '"renders-day";r=2;t=' in drawn.headers["ratelimit"]
    assert '"renders-concurrent";r=2,' in drawn.headers["ratelimit"]
    assert client.get("/v1/render/x").status_code == 200
    refused = client.get("/v1/render/x")
    assert (refused.status_code, refused.json()["violated-policies"]) == (429, ["renders-day"])
    assert client.get("/v1/x").status_code == 200
    rows = {row["name"]: row for row in client.get("/api/v1/usage").json()["limits"]}
    assert (rows["renders-day"]["used"], rows["renders-day"]["group"]) == (4, "renders")
    assert rows["renders-day"]["words"] == "4 requests per day on renders"
    assert (rows["period"]["used"], rows["period"]["group"]) == (6, None)


def test_a_keys_own_limit_may_name_a_group_that_is_there(grouped):
    customer_id, _, client = grouped.customer()
    keys = f"/_tiergate/admin/customers/{customer_id}/keys"
    issued = grouped.admin.post(keys, json={"limits": ["1 per day on render"]})
    assert issued.status_code == 400
    assert "did you mean 'renders'?" in issued.json()["detail"]
    issued = grouped.admin.post(keys, json={"limits": ["2 per day on renders"]}).raise_for_status().json()
    narrow = grouped.bearer(issued["key"])
    assert [narrow.get("/v1/render/x").status_code for _ in range(2)] == [200, 429]
    assert [narrow.get("/v1/x").status_code, client.get("/v1/render/x").status_code] == [200, 200]
