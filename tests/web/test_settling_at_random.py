"""Calls that end in every way at once, against a plain sum of what each of them costs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.web.policy_files import write_policy

pytestmark = pytest.mark.slow

RESERVED, MOST, LIMIT, AT_ONCE = 20, 500, 700, 4
POLICY = f"""\
version: 1
default_tier: free
meters:
  tokens: {{settle: response header X-Tokens at most {MOST}}}
  kb: {{settle: response bytes per 1KB}}
  up: {{}}
tiers: {{free: {{limits: [1_000 requests per day, {LIMIT} tokens per day, 100_000 kb per day, 10_000 up per day]}}}}
billable: [2xx, 404]
routes: [{{match: "* /v1/**", cost: {{tokens: {RESERVED}, kb: 3, up: request bytes per 1KB at most 9}}}}]
"""


@dataclass(frozen=True)
class Call:
    """One call, and what it makes the upstream do."""

    said: str | None
    size: int
    end: str
    upload: int
    is_chunked: bool

    @property
    def headers(self) -> dict[str, str]:
        fields = {"x-size": str(self.size)}
        if self.said is not None:
            fields["x-say"] = f"X-Tokens: {self.said}"
        if self.end in {"cut", "silence"}:
            return fields | {"x-end": self.end}
        return fields | {"x-status": self.end}

    @property
    def content(self) -> object:
        data = b"x" * self.upload
        return iter([data[:700], data[700:]]) if self.is_chunked else data

    @property
    def cost(self) -> dict[str, int]:
        """By the words of the documentation, if it is let in."""
        breaks = self.end in {"cut", "silence"}
        if self.end.startswith(("403", "500")) or (breaks and not self.size):
            return {}
        told = int(self.said) if self.said is not None and self.said.isdigit() else RESERVED
        tokens = RESERVED if breaks else min(told, MOST)
        return {"requests": 1, "tokens": tokens, "kb": -(-self.size // 1000), "up": -(-self.upload // 1000)}


CALLS = st.lists(
    st.builds(
        Call,
        said=st.none() | st.sampled_from(["many", "-1", "0", "19", "20", "21", "499", "501", "100000"]),
        size=st.sampled_from([0, 1, 1000, 1001, 5000]),
        end=st.sampled_from(["200 OK", "201 Made", "404 No", "403 No", "500 No", "cut", "silence"]),
        upload=st.sampled_from([0, 1, 1000, 2500, 9000]),
        is_chunked=st.booleans(),
    ),
    min_size=1,
    max_size=14,
)


@pytest.fixture(scope="module")
def gateways(start_shared, stage, tmp_path_factory):
    """Two workers: one that gives an upstream up that goes silent, and one that has patience."""
    settings = {
        "TIERGATE_UPSTREAM_URL": stage.add("api").url,
        "TIERGATE_POLICY_DIR": str(write_policy(tmp_path_factory.mktemp("policies"), tiers=POLICY)),
    }
    return start_shared(**settings, TIERGATE_UPSTREAM_IDLE_TIMEOUT_S="1"), start_shared(**settings)


def make(impatient: httpx.Client, patient: httpx.Client, call: Call) -> bool:
    """Whether it was let in."""
    client = impatient if call.end == "silence" else patient
    try:
        answer = client.post("/v1/says", headers=call.headers, content=call.content)
    except httpx.HTTPError:
        return True  # it broke off
    if answer.status_code == 429:
        assert answer.json()["code"] == "quota-exceeded"
        return False
    assert answer.status_code == int(call.end[:3])
    assert "x-tokens" not in answer.headers
    return True


def used(client: httpx.Client) -> dict[str, int]:
    rows = client.get("/api/v1/usage").raise_for_status().json()["limits"]
    return {row["meter"]: row["used"] for row in rows}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls=CALLS)
def test_every_call_costs_what_it_turned_out_to_cost_once(gateways, until, calls):
    impatient, patient = gateways
    _, _, client = patient.customer()
    other = impatient.bearer(client.headers["authorization"].partition(" ")[2])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        let_in = list(pool.map(lambda call: make(other, client, call), calls))
    expected = dict.fromkeys(("requests", "tokens", "kb", "up"), 0)
    for call, is_in in zip(calls, let_in, strict=True):
        for meter, units in call.cost.items():
            expected[meter] += units if is_in else 0
    until(lambda: used(client) == expected)
    in_flight = 2 * AT_ONCE  # one that has been answered may not be settled yet
    assert expected["tokens"] <= LIMIT + in_flight * (MOST - RESERVED)
