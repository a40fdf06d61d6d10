from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gateway.core.assertion import read_seed
from gateway.core.keys import KeyCodec
from gateway.core.webhook_signature import read_secret
from tests.fakes.raw import open_raw

pytestmark = pytest.mark.slow

Run = Callable[..., Result]


@pytest.fixture
def ada(migrated: Run) -> Run:
    """Runs commands where there is a customer `ada`."""
    assert migrated("customers", "create", "--user-id", "ada").exit_code == 0
    return migrated


def issue(run: Run, *arguments: str) -> dict[str, Any]:
    result = run("keys", "issue", "--user-id", "ada", "--json", *arguments)
    assert result.exit_code == 0, result.output
    issued: dict[str, Any] = json.loads(result.stdout)
    return issued


def keys(run: Run, *arguments: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(run("keys", "list", "--user-id", "ada", "--json", *arguments).stdout)[
        "keys"
    ]
    return listed


def test_an_issued_key_is_all_of_standard_output_so_that_it_can_be_piped(ada: Run) -> None:
    result = ada("keys", "issue", "--user-id", "ada")
    assert result.exit_code == 0
    [text] = result.stdout.splitlines()
    assert text.startswith("tg_test_")
    assert "shown this once" in result.stderr


def test_a_key_is_printed_once_and_never_again(ada: Run, tmp_path: Path) -> None:
    text = issue(ada)["key"]
    for command in (["keys", "list", "--user-id", "ada", "--all"], ["customers", "show", "--user-id", "ada", "--json"]):
        output = ada(*command).output
        assert text not in output
        assert text[-4:] in output
    stored = b"".join(file.read_bytes() for file in (tmp_path / "data of the test").rglob("*") if file.is_file())
    assert text.encode() not in stored


def test_name_scopes_limits_and_expiry_are_kept_as_they_were_given(ada: Run) -> None:
    issue(ada, "--name", "reports", "--scope", "GET /v1/reports/**", "--limit", "100 per day", "--expires", "30d")
    [key] = keys(ada)
    assert (key["name"], key["scopes"], key["limits"]) == ("reports", ["GET /v1/reports/**"], ["100 per day"])
    assert abs(key["expires_at"] - time.time() - 30 * 86_400) < 60


def test_addresses_are_kept_and_shown(ada: Run) -> None:
    told = issue(ada, "--allow-ip", "203.0.113.0/24", "--allow-ip", "2001:db8::1")
    assert told["allow_ips"] == ["203.0.113.0/24", "2001:db8::1"]
    assert [key["allow_ips"] for key in keys(ada)] == [told["allow_ips"]]
    assert "203.0.113.0/24, 2001:db8::1" in ada("keys", "list", "--user-id", "ada").stdout


def test_a_date_as_expiry_is_its_first_moment_in_utc(ada: Run) -> None:
    assert issue(ada, "--expires", "2099-01-31")["expires_at"] == 4_073_500_800


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--expires", "soon"], "write it like 7d"),
        (["--expires", "2099-02-30"], "not a date"),
        (["--expires", "2001-01-01"], "lies in the past"),
        (["--expires", "9999-12-31T23:59:59-01:00"], "beyond the year 9999"),
        (["--limit", "5 per dya"], "Did you mean 'day'"),
        (["--limit", "5 tokens per day"], "no meter 'tokens'"),
        (["--scope", "FETCH /v1"], "not a method"),
        (["--allow-ip", "203.0.113.7/24"], "write '203.0.113.0/24'"),
        (["--allow-ip", "office"], "not an IP address"),
        ([part for n in range(1, 12) for part in ("--limit", f"{n} per {n} hours")], "at most 10 limits"),
        (["--name", ""], "1 to 80 printable characters"),
    ],
    ids=[
        "no duration",
        "no such day",
        "past",
        "too late",
        "misspelt window",
        "unknown meter",
        "unknown method",
        "host bits",
        "no address",
        "many limits",
        "empty name",
    ],
)
def test_what_a_key_cannot_have_is_refused_with_the_reason(ada: Run, arguments: list[str], said: str) -> None:
    result = ada("keys", "issue", "--user-id", "ada", *arguments)
    assert result.exit_code != 0
    assert said in result.output + str(result.exception)
    assert keys(ada) == []


def test_a_rotated_key_has_a_successor_and_ends_after_the_overlap(ada: Run) -> None:
    old = issue(ada, "--name", "production", "--scope", "GET /v1/**")
    result = ada("keys", "rotate", old["key_id"], "--user-id", "ada", "--overlap", "2h", "--json")
    new = json.loads(result.stdout)
    assert (new["name"], new["scopes"]) == ("production", ["GET /v1/**"])
    assert new["key"] != old["key"]
    ends = {key["key_id"]: key["expires_at"] for key in keys(ada)}
    assert abs(ends[old["key_id"]] - time.time() - 7200) < 60
    assert ends[new["key_id"]] is None
    assert {key["key_id"]: key["replaced_by"] for key in keys(ada)} == {
        old["key_id"]: new["key_id"],
        new["key_id"]: None,
    }
    assert f"replaced by {new['key_id']}" in ada("keys", "list", "--user-id", "ada").stdout.replace("\n", " ")
    again = ada("keys", "rotate", old["key_id"], "--user-id", "ada")
    assert f"was replaced by '{new['key_id']}' already" in str(again.exception)


def test_an_overlap_of_more_than_thirty_days_is_refused(ada: Run) -> None:
    result = ada("keys", "rotate", issue(ada)["key_id"], "--user-id", "ada", "--overlap", "31d")
    assert result.exit_code == 2
    assert "more than 30 days" in result.output


def test_keys_are_listed_a_page_at_a_time(ada: Run) -> None:
    made = {issue(ada)["key_id"] for _ in range(3)}
    listing = ("keys", "list", "--user-id", "ada", "--limit", "2")
    first = json.loads(ada(*listing, "--json").stdout)
    assert len(first["keys"]) == 2
    assert f"--after {first['next_after']}" in ada(*listing).stderr
    rest = json.loads(ada(*listing, "--after", first["next_after"], "--json").stdout)
    assert rest["next_after"] is None
    assert {key["key_id"] for page in (first, rest) for key in page["keys"]} == made
    assert ada("keys", "list", "--user-id", "ada", "--after", "x").exit_code == 2


def test_a_revoked_key_is_listed_only_when_all_are_asked_for(ada: Run) -> None:
    key_id = issue(ada)["key_id"]
    result = ada("keys", "revoke", key_id, "--user-id", "ada", "--because", "leaked")
    assert result.exit_code == 0
    assert keys(ada) == []
    [key] = keys(ada, "--all")
    assert key["revoked_at"] is not None
    assert "leaked" in ada("customers", "show", "--user-id", "ada").output


def test_without_a_cache_the_change_is_in_the_ledger_and_that_is_said(ada: Run) -> None:
    result = ada("keys", "revoke", issue(ada)["key_id"], "--user-id", "ada")
    assert "revoked in the ledger" in result.stdout
    assert "The change is safe in the ledger" in result.stderr


def test_with_the_cache_of_a_running_gateway_the_change_is_there_at_once(
    ada: Run, cache: str, environment: dict[str, str]
) -> None:
    issued = issue(ada, "--limit", "5 per day")
    result = ada("keys", "list", "--user-id", "ada")
    assert result.exit_code == 0
    stored = asyncio.run(stored_account(cache, issued["customer_id"]))
    codec = KeyCodec(environment["TIERGATE_KEY_PEPPER"].encode(), "test")
    assert codec.digest(issued["key"].encode()).encode() in stored
    assert "cache" not in ada("keys", "revoke", issued["key_id"], "--user-id", "ada").stderr
    assert codec.digest(issued["key"].encode()).encode() not in asyncio.run(
        stored_account(cache, issued["customer_id"])
    )


async def stored_account(url: str, customer_id: str) -> bytes:
    async with open_raw(url, decode_responses=False) as client:
        return bytes(await client.get(f"tg:{{{customer_id}}}:acct"))


def test_one_customer_must_be_named_and_only_one(migrated: Run) -> None:
    for arguments in ([], ["--user-id", "a", "--customer", "b"]):
        result = migrated("keys", "list", *arguments)
        assert result.exit_code == 2
        assert "either --customer ID or --user-id USER" in result.output


def test_an_unknown_customer_is_an_error_that_says_where_to_look(migrated: Run) -> None:
    result = migrated("keys", "issue", "--user-id", "nobody")
    assert result.exit_code == 1
    assert "no customer with user id 'nobody'" in result.output
    assert "tiergate customers list" in result.output
    assert "tiergate customers create" in result.output


def test_a_ledger_without_tables_is_an_error_that_names_the_fix(tiergate: Run) -> None:
    result = tiergate("keys", "list", "--user-id", "ada")
    assert result.exit_code == 1
    assert "tiergate migrate" in result.output


def test_a_key_can_be_revoked_while_the_policy_is_broken(ada: Run, policies: Path) -> None:
    key_id = issue(ada)["key_id"]
    (policies / "tiergate.yaml").write_text("tiers: {")
    assert ada("keys", "revoke", key_id, "--user-id", "ada").exit_code == 0
    result = ada("keys", "issue", "--user-id", "ada", "--limit", "5 per day")
    assert result.exit_code == 1
    assert "tiergate.yaml" in result.output


def test_secrets_are_long_different_and_accepted_as_settings(tiergate: Run) -> None:
    first, second = (tiergate("secret").stdout.strip() for _ in range(2))
    assert first != second
    assert len(first) >= 43
    assert len(read_seed(first)) == 32


def test_a_signing_secret_is_accepted_as_one(tiergate: Run) -> None:
    assert len(read_secret(tiergate("secret", "--signing").stdout.strip())) == 32
