from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from gateway.cli.policy import policy_group
from gateway.policyfiles import load_policy

if TYPE_CHECKING:
    from click.testing import Result

SHIPPED = Path(__file__).parents[2] / "policies"
TEXT = (SHIPPED / "tiergate.yaml").read_text(encoding="utf-8")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(policy_group, list(arguments))


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    directory = tmp_path / "policy files"
    directory.mkdir()
    text = TEXT.replace("tier: enterprise", "tier: enterprize").replace("cost: 5", "\u200bcost: 5")
    (directory / "api.yaml").write_text(text, encoding="utf-8")
    return directory


def test_check_accepts_the_shipped_policy_and_says_what_it_sells() -> None:
    result = run("check", str(SHIPPED))
    assert result.exit_code == 0
    assert f"valid (policy {load_policy(SHIPPED).policy_hash})" in result.output
    assert "100 requests per billing period" in result.output
    assert "lookup key pro_yearly" in result.output
    assert "cost 10 requests, requires exports" in result.output


def test_check_reads_policies_in_the_working_directory_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIERGATE_POLICY_DIR", raising=False)
    monkeypatch.chdir(SHIPPED.parent)
    assert run("check").output.startswith("policies: valid")


@pytest.mark.parametrize("where", ["the environment", ".env"])
def test_the_files_looked_at_are_those_a_gateway_here_would_serve_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: Path, where: str
) -> None:
    """Nothing else needs to be set: policy files are written before there is a Stripe key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIERGATE_POLICY_DIR", raising=False)
    if where == ".env":
        (tmp_path / ".env").write_text(f"TIERGATE_POLICY_DIR='{broken}'\n", encoding="utf-8")
    else:
        monkeypatch.setenv("TIERGATE_POLICY_DIR", str(broken))
    for arguments in (("check",), ("show",), ("explain", "GET", "/v1/echo")):
        result = run(*arguments)
        assert result.exit_code == 1
        assert "did you mean 'enterprise'?" in result.output


def test_check_prints_every_fault_with_its_line_a_caret_and_the_nearest_name(broken: Path) -> None:
    result = run("check", str(broken))
    assert result.exit_code == 1
    lines = result.output.splitlines()
    number = 1 + next(
        index for index, line in enumerate((broken / "api.yaml").read_text().splitlines()) if "enterprize" in line
    )
    at = next(index for index, line in enumerate(lines) if "enterprize" in line)
    assert lines[at].startswith(f"{broken}/api.yaml:{number}:11: ")
    assert lines[at + 1] == "        tier: enterprize"
    assert lines[at + 2] == "    " + " " * 10 + "^"
    assert lines[at + 3] == "    did you mean 'enterprise'?"
    assert lines[-1] == "2 faults in 1 file."


def test_check_as_json_is_one_object(broken: Path) -> None:
    good = json.loads(run("check", "--json", str(SHIPPED)).output)
    assert (good["ok"], good["faults"], good["tiers"]) == (True, [], 3)
    result = run("check", "--json", str(broken))
    bad = json.loads(result.output)
    assert result.exit_code == 1
    assert bad["ok"] is False
    assert {"file", "line", "column", "message", "suggestion"} <= set(bad["faults"][0])


def test_check_never_prints_control_characters_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "api.yaml").write_bytes(b"version: 1 \x1b[2J\n" + b"x" * 3000)
    result = run("check", str(tmp_path))
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert max(map(len, result.output.splitlines())) < 300


def test_check_of_a_missing_directory_says_so(tmp_path: Path) -> None:
    result = run("check", str(tmp_path / "nowhere"))
    assert result.exit_code == 1
    assert "there is no such directory" in result.output


def test_show_fills_in_every_default() -> None:
    result = run("show", str(SHIPPED))
    assert result.exit_code == 0
    assert "past_due               keeps its tier for 7 days, then tier 'free'" in result.output
    assert "unpaid                 402 payment-required" in result.output
    assert "credits expire    never" in result.output
    assert "a change of plan  prorate (plan_change)" in result.output


def test_show_says_what_a_change_of_plan_does_where_the_policy_does_not(tmp_path: Path) -> None:
    silent = re.sub("^(plan_change|switching): .*\n", "", TEXT, flags=re.MULTILINE)
    (tmp_path / "policy.yaml").write_text(silent)
    shown = run("show", str(tmp_path)).output
    assert "a change of plan  keep (plan_change)" in shown
    assert re.search(r"its money +now \(switching\)", shown)


def test_explain_names_the_route_its_place_the_cost_and_the_limits() -> None:
    result = run("explain", "post", "/v1/render/a?x=1", "--tier", "pro", "--dir", str(SHIPPED))
    assert result.exit_code == 0
    assert "POST /v1/render/a on 'pro'" in result.output
    assert f"* /v1/render/**  ({SHIPPED}/tiergate.yaml:" in result.output
    assert "requires exports, which 'pro' has" in result.output
    assert "cost     10 requests" in result.output
    assert "1_000 requests per billing period: 100 such calls a window" in result.output
    assert "outage   local 10: units for each known customer and worker" in result.output


def test_explain_says_when_the_seller_is_told() -> None:
    result = run("explain", "GET", "/v1/echo", "--dir", str(SHIPPED))
    assert "alerts   at 50 %, 80 %, 100 % of a quota, on the ways that the settings name\n" in result.output


def test_explain_and_show_tell_groups_of_routes_and_calls_at_once(tmp_path: Path) -> None:
    text = """\
version: 1
default_tier: free
tiers:
  free:
    limits: [20 concurrent, 100 per day on renders, 3 concurrent on renders, 5 per minute on lookups]
routes:
  - {match: POST /v1/render/**, group: renders, cost: 10}
  - {match: GET /v1/lookup, group: lookups}
"""
    (tmp_path / "policy.yaml").write_text(text, encoding="utf-8")
    explained = run("explain", "POST", "/v1/render/a", "--dir", str(tmp_path)).output
    assert "group    renders\n" in explained
    assert "limit    20 concurrent: each call is one while it is in progress, whatever it costs\n" in explained
    assert "limit    100 requests per day on renders: 10 such calls a window\n" in explained
    assert "limit    3 concurrent on renders: each call is one" in explained
    assert "limit    5 requests per minute burst 5 on lookups: does not count this call\n" in explained
    shown = run("show", str(tmp_path)).output
    assert "    100 requests per day on renders\n" in shown
    assert "cost 10 requests, group renders" in shown


def test_explain_says_which_tiers_have_a_missing_feature() -> None:
    result = run("explain", "GET", "/v1/render/a", "--dir", str(SHIPPED))
    assert result.exit_code == 1
    assert "403 feature-not-in-tier: it requires 'exports', which is in: pro, enterprise." in result.output


def test_explain_of_a_path_that_is_not_sold_is_a_404() -> None:
    result = run("explain", "GET", "/v2/x", "--tier", "pro", "--dir", str(SHIPPED))
    assert result.exit_code == 1
    assert "404 route-not-found" in result.output


def test_explain_refuses_a_path_with_two_readings() -> None:
    result = run("explain", "GET", "/v1/../x", "--dir", str(SHIPPED))
    assert result.exit_code == 1
    assert "400 ambiguous-target" in result.output


def test_explain_names_the_nearest_tier() -> None:
    result = run("explain", "GET", "/v1/echo", "--tier", "por", "--dir", str(SHIPPED))
    assert result.exit_code == 2
    assert "did you mean 'pro'?" in result.output


FORWARDING = """\
version: 1
default_tier: free
upstreams:
  default: {servers: [http://10.0.0.1:3000, http://10.0.0.2:3000 weight 2], check: GET /healthz every 10s}
  render: {servers: [http://10.0.0.9:3000], host: preserve, hosts: [render.example.com]}
cors: {origins: [https://app.example.com], credentials: yes}
tiers:
  free: {limits: [10 per second], upstream: {timeout: {total: 1m}, max_body: 1MB}}
routes:
  - match: /v1/files/{name}
    encoded_slashes: yes
    rewrite: strip /v1 prefix /api
    timeout: 1500ms
    max_body: 20MB
    request_headers: {set: {Authorization: Bearer hunter2}, remove: [Cookie]}
    websocket: {cost_per_message: 1}
  - match: POST /v1/x
    cors: off
  - match: "* /v1/**"
    websocket: refuse
"""


@pytest.fixture
def forwarding(tmp_path: Path) -> str:
    (tmp_path / "api.yaml").write_text(FORWARDING, encoding="utf-8")
    return str(tmp_path)


def test_explain_says_where_a_call_goes_and_what_is_changed_on_its_way(forwarding: str) -> None:
    result = run("explain", "GET", "/v1/files/a%2fb?x=1", "--dir", forwarding)
    assert result.exit_code == 0
    assert [line for line in result.output.split("\n\n")[2].splitlines() if not line.startswith("cors")] == [
        (
            "upstream  group 'default': http://10.0.0.1:3000, http://10.0.0.2:3000 weight 2; round-robin;"
            " eject 3 failures for 10s; check GET /healthz every 10s"
        ),
        "path      /api/files/a%2fb",
        "timeouts  first byte 1500ms, total 1m; others as in the settings",
        "max body  20MB",
        "request   remove cookie, set authorization",
        "websocket 1 requests a message; messages up to 1MiB",
        "slashes   %2F in the path is part of a segment, and passes",
    ]
    assert "cors      https://app.example.com, with credentials; methods GET," in result.output
    assert "hunter2" not in result.output


def test_explain_follows_the_host_that_is_called(forwarding: str) -> None:
    result = run("explain", "GET", "/v1/y", "--host", "Render.example.com:8443", "--dir", forwarding)
    assert "upstream  group 'render': http://10.0.0.9:3000; for render.example.com" in result.output
    assert "host      the caller's" in result.output
    assert "max body  1MB" in result.output
    assert "websocket refused" in result.output


def test_explain_of_a_route_without_cors_says_so(forwarding: str) -> None:
    assert "cors      none" in run("explain", "POST", "/v1/x", "--dir", forwarding).output


def test_explain_refuses_an_encoded_slash_where_the_route_does_not_take_it(forwarding: str) -> None:
    result = run("explain", "GET", "/v1/other/a%2Fb", "--dir", forwarding)
    assert result.exit_code == 1
    assert "400 ambiguous-target: The path holds an encoded slash." in result.output


def test_explain_names_the_settings_where_policy_says_nothing() -> None:
    result = run("explain", "GET", "/v1/echo", "--dir", str(SHIPPED))
    assert "upstream  TIERGATE_UPSTREAM_URL" in result.output
    assert "timeouts  as in the settings" in result.output


def test_show_lists_the_groups_of_upstreams(forwarding: str) -> None:
    result = run("show", forwarding)
    assert "render   http://10.0.0.9:3000; for render.example.com" in result.output
    assert "Upstreams" not in run("show", str(SHIPPED)).output


def test_explain_says_which_responses_are_billed(tmp_path: Path) -> None:
    line = '  - match: "* /v1/**"'
    text = TEXT.replace(line, f"{line}\n    billable: {{responses: [2xx, 404], abandoned: no}}")
    (tmp_path / "api.yaml").write_text(f"billable: below 400\n{text}", encoding="utf-8")
    own = run("explain", "GET", "/v1/other", "--dir", str(tmp_path)).output
    assert "billed   responses 2xx, 404; a call that its caller leaves before the response is given back" in own
    general = run("explain", "POST", "/v1/render/a", "--tier", "pro", "--dir", str(tmp_path)).output
    assert "billed   responses below 400; a call that its caller leaves before the response stays charged" in general


def test_explain_says_how_the_real_cost_is_learnt(tmp_path: Path) -> None:
    tokens, kb = "response header X-Tokens at most 4_000 kept", "response bytes per 1KB"
    meters = f"meters:\n  tokens: {{settle: {tokens}}}\n  kb: {{settle: {kb}}}\n"
    text = TEXT.replace('  - match: "* /v1/**"', '  - match: "* /v1/**"\n    cost: {tokens: 200, kb: 1}')
    (tmp_path / "api.yaml").write_text(text.replace("\ntiers:", f"\n{meters}tiers:"), encoding="utf-8")
    said = run("explain", "GET", "/v1/other", "--dir", str(tmp_path)).output
    assert "settled  tokens by the response's 'x-tokens' field, which the caller sees, at most 4_000; " in said
    assert "settled  kb by bytes of the response, a unit per 1KB; the cost above is reserved" in said


def test_explain_says_where_a_cost_is_read(tmp_path: Path) -> None:
    line = '  - match: "* /v1/**"'
    cost = "{requests: request json items.length at most 100 default 1, kb: request bytes per 1KB at most 5_000}"
    text = TEXT.replace(line, f"{line}\n    cost: {cost}").replace("\ntiers:", "\nmeters: {kb: {}}\ntiers:")
    (tmp_path / "api.yaml").write_text(text, encoding="utf-8")
    said = run("explain", "POST", "/v1/other", "--dir", str(tmp_path)).output
    assert "requests by the length of 'items' in the JSON body (at most 100, 1 without it)" in said
    assert "kb by the size of the request's body, a unit per 1KB (at most 5_000)" in said
    assert "100 requests per billing period: as many calls as their costs leave room for" in said


def test_check_against_the_policy_before_warns_of_counts_that_start_again(tmp_path: Path) -> None:
    edit = tmp_path / "edit"
    edit.mkdir()
    (edit / "api.yaml").write_text(TEXT.replace("- 1_000 requests per billing period", "- 1_000 requests per day"))
    assert "warning" not in run("check", str(edit)).output
    result = run("check", str(edit), "--against", str(SHIPPED))
    assert result.exit_code == 0, "nothing is refused for it"
    lines = result.output.splitlines()
    at = lines.index("1 warning") + 1
    number = 1 + next(n for n, line in enumerate((edit / "api.yaml").read_text().splitlines()) if "1_000 r" in line)
    assert lines[at].startswith(f"{edit}/api.yaml:{number}:9: '1_000 requests per day' in tier 'pro' starts at nothing")
    assert lines[at + 1].strip().startswith("- 1_000 requests per day")
    told = json.loads(run("check", str(edit), "--against", str(SHIPPED), "--json").output)
    assert (told["ok"], [one["line"] for one in told["warnings"]]) == (True, [number])


def test_check_against_a_policy_that_is_not_valid_says_what_is_wrong_with_that(broken: Path) -> None:
    result = run("check", str(SHIPPED), "--against", str(broken))
    assert result.exit_code == 1
    assert "did you mean 'enterprise'?" in result.output
