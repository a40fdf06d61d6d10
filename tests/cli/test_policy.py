from __future__ import annotations

import json
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
    assert "past_due            keeps its tier for 7 days, then tier 'free'" in result.output
    assert "unpaid              402 payment-required" in result.output


def test_explain_names_the_route_its_place_the_cost_and_the_limits() -> None:
    result = run("explain", "post", "/v1/render/a?x=1", "--tier", "pro", "--dir", str(SHIPPED))
    assert result.exit_code == 0
    assert "POST /v1/render/a on 'pro'" in result.output
    assert f"* /v1/render/**  ({SHIPPED}/tiergate.yaml:" in result.output
    assert "requires exports, which 'pro' has" in result.output
    assert "cost     10 requests" in result.output
    assert "1_000 requests per billing period: 100 such calls a window" in result.output


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
