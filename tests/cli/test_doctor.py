from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from click.testing import Result

from gateway.billing import SUBSCRIBED_TYPES
from gateway.clock import write_clock_offset

pytestmark = pytest.mark.slow

Run = Callable[..., Result]
PUBLIC_URL = "http://localhost:9"
WEBHOOK = f"{PUBLIC_URL}/api/v1/webhook"


def examine(run: Run) -> tuple[int, list[dict[str, Any]]]:
    result = run("doctor", "--json")
    report = json.loads(result.stdout)
    assert report["ok"] == (result.exit_code == 0)
    assert all(finding["fix"] for finding in report["findings"] if finding["grade"] != "ok")
    return result.exit_code, report["findings"]


def about(findings: list[dict[str, Any]], subject: str, grade: str) -> list[str]:
    return [f["what"] for f in findings if f["subject"] == subject and f["grade"] == grade]


def add_endpoint(sandbox: Any, url: str, *types: str) -> dict[str, Any]:
    form = {f"enabled_events[{number}]": name for number, name in enumerate(types or SUBSCRIBED_TYPES)}
    endpoint: dict[str, Any] = sandbox.post("/v1/webhook_endpoints", url=url, **form)
    return endpoint


@pytest.fixture
def public(environment: dict[str, str]) -> None:
    environment["TIERGATE_PUBLIC_URL"] = PUBLIC_URL


@pytest.mark.not_on("cluster", because="masters without replicas or a file are warned of")
@pytest.mark.usefixtures("public")
def test_a_gateway_that_is_set_up_has_nothing_but_good_findings(
    migrated: Run, sandbox: Any, cache: str, environment: dict[str, str]
) -> None:
    assert cache
    Path(environment["TIERGATE_DATA_DIR"]).chmod(0o700)
    add_endpoint(sandbox, WEBHOOK)
    exit_code, findings = examine(migrated)
    assert [finding for finding in findings if finding["grade"] != "ok"] == []
    assert exit_code == 0
    subjects = {finding["subject"] for finding in findings}
    assert subjects == {
        "settings",
        "data",
        "cache",
        "ledger",
        "policy",
        "upstream",
        "stripe",
        "prices",
        "webhook",
        "portal",
        "clock",
    }


def test_on_a_fresh_machine_it_changes_nothing(tiergate: Run, sandbox: Any, environment: dict[str, str]) -> None:
    assert sandbox.url
    exit_code, findings = examine(tiergate)
    assert exit_code == 0
    assert about(findings, "cache", "ok") == ["embedded Valkey runs on this machine; `tiergate serve` starts it"]
    assert "has no tables yet" in about(findings, "ledger", "warn")[0]
    assert not Path(environment["TIERGATE_DATA_DIR"]).exists()


def test_without_an_upstream_it_warns_because_the_gateway_may_run_inside_an_app(
    migrated: Run, environment: dict[str, str]
) -> None:
    del environment["TIERGATE_UPSTREAM_URL"]
    _, findings = examine(migrated)
    assert about(findings, "settings", "fail") == []
    assert "is not set" in about(findings, "upstream", "warn")[0]


def test_the_servers_of_every_group_are_tried_and_a_url_that_nothing_uses_is_told(
    migrated: Run, environment: dict[str, str], policies: Path
) -> None:
    groups = f"upstreams: {{default: {{servers: ['{environment['TIERGATE_UPSTREAM_URL']}', 'http://127.0.0.1:9']}}}}\n"
    (policies / "groups.yaml").write_text(f"version: 1\n{groups}")
    exit_code, findings = examine(migrated)
    assert exit_code == 1
    assert "no call goes there" in about(findings, "upstream", "warn")[0]
    assert about(findings, "upstream", "fail") == ["http://127.0.0.1:9: Connection refused"]
    del environment["TIERGATE_UPSTREAM_URL"]
    _, findings = examine(migrated)
    assert about(findings, "upstream", "warn") == []
    assert "'upstreams' in the policy" in next(
        each["fix"] for each in findings if each["grade"] == "fail" and each["subject"] == "upstream"
    )


def test_every_wrong_setting_is_a_finding_without_its_value(tiergate: Run, environment: dict[str, str]) -> None:
    environment |= {"TIERGATE_ADMIN_TOKEN": "hunter2", "STRIPE_SECRET_KEY": "pk_test_hunter2", "TIERGATE_PROT": "1"}
    result = tiergate("doctor")
    assert result.exit_code == 1
    for name in ("TIERGATE_ADMIN_TOKEN", "STRIPE_SECRET_KEY", "TIERGATE_PROT"):
        assert name in result.stdout
    assert "hunter2" not in result.output


def test_a_price_that_stripe_does_not_have_is_a_failure(migrated: Run, sandbox: Any, policies: Path) -> None:
    assert sandbox.url
    file = policies / "tiergate.yaml"
    file.write_text(file.read_text().replace("lookup_key pro_monthly", "lookup_key pro_monthlee"))
    exit_code, findings = examine(migrated)
    assert exit_code == 1
    [what] = about(findings, "prices", "fail")
    assert "'pro-monthly'" in what
    assert "pro_monthlee" in what
    assert len(about(findings, "prices", "ok")) == 2


def test_an_archived_or_single_payment_price_cannot_back_a_plan(migrated: Run, sandbox: Any, policies: Path) -> None:
    once = sandbox.post("/v1/prices", product="prod_pro", currency="usd", unit_amount="900")["id"]
    archived = sandbox.post(
        "/v1/prices", product="prod_pro", currency="usd", unit_amount="900", **{"recurring[interval]": "month"}
    )["id"]
    sandbox.post(f"/v1/prices/{archived}", active="false")
    file = policies / "tiergate.yaml"
    text = file.read_text().replace("lookup_key pro_monthly", once).replace("lookup_key pro_yearly", archived)
    file.write_text(text)
    _, findings = examine(migrated)
    failures = " ".join(about(findings, "prices", "fail"))
    assert "paid once, not recurring" in failures
    assert "archived" in failures


@pytest.mark.usefixtures("public")
def test_a_webhook_endpoint_must_be_enabled_and_get_every_event(migrated: Run, sandbox: Any) -> None:
    _, findings = examine(migrated)
    assert "no webhook endpoint" in about(findings, "webhook", "warn")[0]
    endpoint = add_endpoint(sandbox, WEBHOOK, "invoice.paid")
    exit_code, findings = examine(migrated)
    assert exit_code == 1
    assert f"{len(SUBSCRIBED_TYPES) - 1} of the events" in about(findings, "webhook", "fail")[0]
    sandbox.post(f"/v1/webhook_endpoints/{endpoint['id']}", disabled="true")
    _, findings = examine(migrated)
    assert "is disabled" in about(findings, "webhook", "fail")[0]


def test_a_key_that_stripe_does_not_accept_is_a_failure(
    migrated: Run, sandbox: Any, environment: dict[str, str]
) -> None:
    environment["STRIPE_SECRET_KEY"] = "sk_test_another_key_of_nobody"
    exit_code, findings = examine(migrated)
    assert exit_code == 1
    assert about(findings, "stripe", "fail") == ["Stripe does not accept STRIPE_SECRET_KEY"]
    assert sandbox.key not in str(findings)


def test_what_does_not_answer_is_a_failure_with_the_reason(
    migrated: Run, api: http.server.ThreadingHTTPServer, environment: dict[str, str]
) -> None:
    environment["TIERGATE_UPSTREAM_URL"] += ",http://127.0.0.1:9"
    environment["TIERGATE_REDIS_URL"] = "redis://user:hunter2@127.0.0.1:9/0"
    environment["TIERGATE_LEDGER_URL"] = "postgresql://user:hunter2@127.0.0.1:9/tiergate"
    exit_code, findings = examine(migrated)
    assert exit_code == 1
    for subject in ("cache", "ledger", "stripe"):
        assert len(about(findings, subject, "fail")) == 1
    assert about(findings, "upstream", "fail") == ["http://127.0.0.1:9: Connection refused"]
    assert str(api.server_address[1]) in about(findings, "upstream", "ok")[0]
    assert "hunter2" not in str(findings)


@pytest.mark.parametrize(
    ("listening", "upstream"),
    [
        ("127.0.0.1", "http://localhost:8123"),
        ("localhost", "http://[::1]:8123/v1"),
        ("0.0.0.0", "http://127.0.0.1:8123"),
        ("10.1.2.3", "http://10.1.2.3:8123"),
    ],
)
def test_an_upstream_that_is_the_gateway_itself_is_a_failure_however_it_is_written(
    tiergate: Run, environment: dict[str, str], listening: str, upstream: str
) -> None:
    environment |= {"TIERGATE_HOST": listening, "TIERGATE_PORT": "8123", "TIERGATE_UPSTREAM_URL": upstream}
    _, findings = examine(tiergate)
    assert "is this gateway itself" in about(findings, "upstream", "fail")[0]


def test_a_billing_portal_that_was_never_set_up_is_a_warning(migrated: Run, sandbox: Any) -> None:
    httpx.post(f"{sandbox.url}/_sandbox/rules", json={"portal_is_set_up": False}, timeout=60).raise_for_status()
    _, findings = examine(migrated)
    assert "never set up" in about(findings, "portal", "warn")[0]


SELLS_OVERAGE = """\
version: 1
default_tier: free
tiers:
  free: {limits: [100 requests per billing period]}
  pro:
    limits: [1_000 requests per billing period]
    overage: {stripe_meter: api_overage, price: lookup_key api_overage, cap: none}
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
routes: [{match: "* /v1/**"}]
"""


def test_a_portal_that_cancels_at_once_is_a_warning_where_something_is_owed_later(
    migrated: Run, environment: dict[str, str], sandbox: Any, policies: Path
) -> None:
    rule = {"portal_cancels_by": "immediately"}
    httpx.post(f"{sandbox.url}/_sandbox/rules", json=rule, timeout=60).raise_for_status()
    assert about(examine(migrated)[1], "portal", "warn") == []
    (policies / "tiergate.yaml").write_text(SELLS_OVERAGE)
    assert (
        "at once: overage of the period that runs is then never billed"
        in about(examine(migrated)[1], "portal", "warn")[0]
    )
    (policies / "tiergate.yaml").write_text(SELLS_OVERAGE + "switching: {proration: next invoice}\n")
    assert (
        "overage and the price of an upgrade ('proration: next invoice')"
        in about(examine(migrated)[1], "portal", "warn")[0]
    )
    environment["TIERGATE_PORTAL_CONFIGURATION"] = "bpc_another"
    assert about(examine(migrated)[1], "portal", "warn") == []


@pytest.mark.not_on("cluster", because="sets or reads the configuration of one server")
def test_a_cache_that_answers_and_takes_no_writes_is_a_failure(migrated: Run, cache: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(unquote(cache.removeprefix("unix://")))
        connection.sendall(b"CONFIG SET maxmemory 1\r\n")
        assert connection.recv(100).startswith(b"+OK")
    exit_code, findings = examine(migrated)
    assert exit_code == 1
    assert "takes no writes: command not allowed when used memory" in about(findings, "cache", "fail")[0]


@pytest.mark.not_on("cluster", because="lists every key of one server that only this test fills")
def test_nothing_of_the_doctor_stays_in_the_cache(migrated: Run, cache: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(unquote(cache.removeprefix("unix://")))
        examine(migrated)
        connection.sendall(b"KEYS tg:probe:*\r\n")
        assert connection.recv(100) == b"*0\r\n"


def test_a_broken_policy_is_a_failure_for_each_fault(migrated: Run, policies: Path) -> None:
    file = policies / "tiergate.yaml"
    file.write_text(file.read_text().replace("tier: pro\n", "tier: prro\n"))
    exit_code, findings = examine(migrated)
    assert exit_code == 1
    assert len(about(findings, "policy", "fail")) == 2
    assert "did you mean 'pro'?" in about(findings, "policy", "fail")[0]
    [fix] = {finding["fix"] for finding in findings if finding["subject"] == "policy"}
    assert fix == f"See `tiergate policy check '{policies}'`."


def test_a_ledger_of_a_newer_version_is_a_failure_and_migrating_is_not_the_advice(
    migrated: Run, environment: dict[str, str]
) -> None:
    set_revision(environment, "9999")
    exit_code, findings = examine(migrated)
    assert exit_code == 1
    [finding] = [finding for finding in findings if finding["subject"] == "ledger"]
    assert "newer version" in finding["what"]
    assert "migrate" not in finding["fix"]
    for command in (("migrate",), ("customers", "list")):
        result = migrated(*command)
        assert result.exit_code == 1
        assert "of a newer version of tiergate. Use that version or a later one." in result.stderr


def test_a_ledger_of_an_older_version_is_a_warning(migrated: Run, environment: dict[str, str]) -> None:
    set_revision(environment, "0000")
    _, findings = examine(migrated)
    assert "tables of an older version" in about(findings, "ledger", "warn")[0]


def set_revision(environment: dict[str, str], revision: str) -> None:
    file = Path(environment["TIERGATE_DATA_DIR"]) / "ledger.sqlite3"
    with contextlib.closing(sqlite3.connect(file)) as ledger, ledger:
        ledger.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def test_people_get_a_line_a_finding_and_its_fix_below(migrated: Run) -> None:
    lines = migrated("doctor").stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("FAIL stripe"))
    assert lines[at + 1].strip().startswith("fix: ")
    assert lines[-1].endswith("failures")


@pytest.mark.not_on("cluster", because="sets or reads the configuration of one server")
def test_a_cache_that_drops_counters_or_keeps_nothing_is_a_warning(migrated: Run, cache: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(unquote(cache.removeprefix("unix://")))
        connection.sendall(b"CONFIG SET maxmemory-policy allkeys-lru\r\nCONFIG SET appendonly no\r\n")
        assert connection.recv(100).startswith(b"+OK")
        assert wait_for_setting(connection)
    _, findings = examine(migrated)
    warnings = " ".join(about(findings, "cache", "warn"))
    assert "maxmemory-policy is allkeys-lru" in warnings
    assert "nothing is persisted" in warnings


def wait_for_setting(connection: socket.socket) -> bool:
    connection.sendall(b"CONFIG GET appendonly\r\n")
    answer = b""
    while b"appendonly" not in answer:
        answer += connection.recv(1000)
    return True


def test_a_customer_that_was_not_read_for_long_is_told(
    migrated: Run, environment: dict[str, str], sandbox: Any
) -> None:
    assert sandbox.url
    migrated("customers", "create", "--user-id", "ada")
    with sqlite3.connect(f"{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3") as ledger:
        ledger.execute("UPDATE customers SET stripe_customer_id = 'cus_1', synced_at = 1000")
    _, findings = examine(migrated)
    assert "was not read of Stripe for" in about(findings, "events", "warn")[0]


def test_what_only_this_policy_needs_of_the_key_is_read(migrated: Run, sandbox: Any, policies: Path) -> None:
    assert sandbox.url
    file = policies / "tiergate.yaml"
    file.write_text(file.read_text() + "\nentitlements: [exports]\n")
    exit_code, findings = examine(migrated)
    assert exit_code == 0
    assert about(findings, "stripe", "fail") == []


OFFERS = """\
version: 1
default_tier: free
tiers:
  free: {limits: [100 requests per billing period]}
  pro: {limits: [1_000 requests per billing period]}
plans:
  launched: {tier: pro, price: lookup_key pro_monthly, coupon: LAUNCH, add_ons: [pack]}
  again: {tier: pro, price: lookup_key pro_yearly, coupon: LAUNCH}
  mistyped: {tier: pro, price: lookup_key enterprise_monthly, coupon: LAUNHC, add_ons: [gone]}
add_ons:
  pack: {price: lookup_key pack_monthly, limits: [10 requests per billing period]}
  gone: {price: price_gone, limits: [10 requests per billing period]}
routes: [{match: "* /v1/**"}]
"""


def test_coupons_and_prices_of_add_ons_that_stripe_does_not_have_are_found(
    migrated: Run, sandbox: Any, policies: Path
) -> None:
    for old in policies.glob("*.yaml"):
        old.unlink()
    (policies / "offers.yaml").write_text(OFFERS)
    sandbox.post("/v1/coupons", id="LAUNCH", percent_off="20", duration="once", max_redemptions="1")
    product = sandbox.post("/v1/products", name="Pack")["id"]
    recurring = {"recurring[interval]": "month"}
    sandbox.post(
        "/v1/prices", product=product, currency="usd", unit_amount="500", lookup_key="pack_monthly", **recurring
    )
    exit_code, findings = examine(migrated)
    assert exit_code == 1
    assert about(findings, "coupons", "ok") == ["coupon 'LAUNCH' of plan launched and again can be redeemed"]
    [along] = about(findings, "coupons", "warn")
    assert along.startswith("the coupon 'LAUNCH' of plan launched and again lowers mistyped too")
    missing = "Stripe does not have the coupon 'LAUNHC' of plan mistyped: its checkouts fail"
    assert about(findings, "coupons", "fail") == [missing]
    assert about(findings, "add-ons", "ok") == ["add-on 'pack' is 5.00 USD (lookup key pack_monthly)"]
    assert about(findings, "add-ons", "fail") == ["add-on 'gone': Stripe has no active price price_gone"]
    sandbox.post("/v1/coupons", id="PRO", percent_off="20", duration="once", **{"applies_to[products][0]": "prod_pro"})
    (policies / "offers.yaml").write_text(OFFERS.replace("LAUNCH", "PRO"))
    assert about(examine(migrated)[1], "coupons", "warn") == []


@pytest.mark.usefixtures("public")
def test_it_makes_and_mends_the_webhook_endpoint_if_it_shall(
    migrated: Run, sandbox: Any, tmp_path: Path, environment: dict[str, str]
) -> None:
    del environment["STRIPE_WEBHOOK_SECRET"]
    file = tmp_path / ".env"
    file.write_text("STRIPE_WEBHOOK_SECRET=whsec_change-me\n")
    made = migrated("doctor", "--repair", "--write-env", str(file), "--json")
    findings = json.loads(made.stdout)["findings"]
    assert about(findings, "webhook", "ok") != []
    assert [one for one in findings if one["subject"] in {"webhook", "settings"} and one["grade"] != "ok"] == []
    [endpoint_id] = re.findall(r"we_\w+", made.stderr)
    sandbox.post(f"/v1/webhook_endpoints/{endpoint_id}", disabled="true")
    mended = migrated("doctor", "--repair")
    assert "enabled it" in mended.stderr
    assert f"{WEBHOOK} is enabled" in mended.stdout


def test_what_is_in_the_way_of_mending_is_a_finding(migrated: Run, sandbox: Any) -> None:
    assert sandbox.url
    refused = migrated("doctor", "--repair", "--json")
    findings = json.loads(refused.stdout)["findings"]
    assert refused.exit_code == 1
    assert "say where its signing secret shall go" in about(findings, "webhook", "fail")[0]


@pytest.mark.usefixtures("public")
def test_events_that_do_not_arrive_are_told_but_not_those_on_their_way(
    migrated: Run, sandbox: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    add_endpoint(sandbox, WEBHOOK)
    sandbox.subscribe()
    assert about(examine(migrated)[1], "webhook", "warn") == []
    write_clock_offset(tmp_path / "clock", 120)
    environment["TIERGATE_SIMULATED_CLOCK"] = str(tmp_path / "clock")
    [what] = about(examine(migrated)[1], "webhook", "warn")
    assert "did not reach an endpoint of this account" in what


def test_a_directory_that_takes_names_and_no_bytes_is_a_failure(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path; from gateway.cli.local_checks import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "for one in check_data_directory(Path(sys.argv[1])): print(one.grade.name, one.what)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout.startswith(f"FAIL {tmp_path} cannot be written")


def test_an_account_that_stripe_does_not_search_is_told_what_protects_it(
    migrated: Run, sandbox: Any, cache: str, environment: dict[str, str]
) -> None:
    assert cache
    environment["TIERGATE_PUBLIC_URL"] = PUBLIC_URL
    httpx.post(f"{sandbox.url}/_sandbox/rules", json={"has_search": False}, timeout=30).raise_for_status()
    _, findings = examine(migrated)
    [said] = [one for one in about(findings, "stripe", "warn") if "does not search customers" in one]
    assert "the ledger binds each buyer to one Stripe customer" in said
    assert about(findings, "stripe", "fail") == []
