from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

from gateway.billing import SUBSCRIBED_TYPES
from gateway.cli.env_file import EnvFile

pytestmark = pytest.mark.slow

Run = Callable[..., Result]
PUBLIC_URL = "http://localhost:9"
URL = f"{PUBLIC_URL}/api/v1/webhook"


@pytest.fixture(autouse=True)
def public(environment: dict[str, str]) -> None:
    environment["TIERGATE_PUBLIC_URL"] = PUBLIC_URL


def endpoints(sandbox: Any) -> list[dict[str, Any]]:
    answer = httpx.get(
        f"{sandbox.url}/v1/webhook_endpoints", headers={"authorization": f"Bearer {sandbox.key}"}, timeout=30
    )
    found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
    return found


def test_nothing_is_made_before_it_is_said_where_the_secret_goes(tiergate: Run, sandbox: Any) -> None:
    refused = tiergate("webhook", "ensure")
    assert (refused.exit_code, "--write-env FILE or --print-secret" in refused.output) == (1, True)
    assert endpoints(sandbox) == []


def test_an_endpoint_is_made_and_its_secret_is_in_the_file_and_nowhere_else(
    tiergate: Run, sandbox: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    del environment["STRIPE_WEBHOOK_SECRET"]
    file = tmp_path / "settings.env"
    file.write_text("TIERGATE_PORT=8000\nSTRIPE_WEBHOOK_SECRET=whsec_old1, whsec_...\n# the end\n")
    file.chmod(0o644)
    made = tiergate("webhook", "ensure", "--write-env", str(file))
    assert made.exit_code == 0, made.output
    lines = file.read_text().splitlines()
    found = re.fullmatch(r"STRIPE_WEBHOOK_SECRET=(whsec_\w+),whsec_old1", lines[1])
    assert found is not None
    assert (lines[0], lines[2]) == ("TIERGATE_PORT=8000", "# the end")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert found[1] not in made.output
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".settings.env")] == []
    [endpoint] = endpoints(sandbox)
    assert (endpoint["url"], set(endpoint["enabled_events"])) == (URL, set(SUBSCRIBED_TYPES))
    again = tiergate("webhook", "ensure", "--write-env", str(file))
    assert "is enabled and gets exactly what the gateway acts on" in again.stdout
    assert file.read_text().splitlines() == lines


@pytest.mark.usefixtures("sandbox")
def test_the_example_that_the_settings_came_with_is_no_secret(
    tiergate: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "settings.env"
    file.write_text("STRIPE_WEBHOOK_SECRET=whsec_change-me\n")
    environment["STRIPE_WEBHOOK_SECRET"] = "whsec_change-me"
    made = tiergate("webhook", "ensure", "--write-env", str(file))
    assert made.exit_code == 0, made.output
    assert re.fullmatch(r"STRIPE_WEBHOOK_SECRET=whsec_\w+\n", file.read_text())


def test_the_secret_is_printed_once_if_that_is_asked(tiergate: Run, sandbox: Any) -> None:
    made = tiergate("webhook", "ensure", "--print-secret")
    assert made.exit_code == 0, made.output
    assert re.fullmatch(r"STRIPE_WEBHOOK_SECRET=whsec_\w+\n", made.stdout)
    assert "whsec_" not in tiergate("webhook", "ensure", "--print-secret").output
    assert len(endpoints(sandbox)) == 1


def test_an_endpoint_that_is_there_is_mended_and_others_are_left_alone(tiergate: Run, sandbox: Any) -> None:
    ours = sandbox.post("/v1/webhook_endpoints", url=URL, **{"enabled_events[0]": "invoice.created"})["id"]
    sandbox.post(f"/v1/webhook_endpoints/{ours}", disabled="true")
    other = sandbox.post("/v1/webhook_endpoints", url="http://localhost:9/else", **{"enabled_events[0]": "*"})["id"]
    before = {one["id"]: one for one in endpoints(sandbox)}
    mended = tiergate("webhook", "ensure")
    assert mended.exit_code == 0, mended.output
    assert "enabled it; added " in mended.stdout
    assert "took out invoice.created" in mended.stdout
    after = {one["id"]: one for one in endpoints(sandbox)}
    assert (after[ours]["status"], set(after[ours]["enabled_events"])) == ("enabled", set(SUBSCRIBED_TYPES))
    assert after[other] == before[other]


def test_a_destination_that_sends_snapshots_here_is_mended_in_place_of_an_endpoint(tiergate: Run, sandbox: Any) -> None:
    ours = sandbox.destination(URL, "invoice.paid", "invoice.created", payload="snapshot")
    mended = tiergate("webhook", "ensure")
    assert mended.exit_code == 0, mended.output
    assert f"{ours} for {URL} is mended: added " in mended.stdout
    assert "took out invoice.created" in mended.stdout
    assert sorted(sandbox.destinations()[ours]["enabled_events"]) == sorted(SUBSCRIBED_TYPES)
    again = tiergate("webhook", "ensure")
    assert (again.exit_code, "twice" in again.output, endpoints(sandbox)) == (0, False, [])
    assert f"{ours} for {URL} is enabled and gets exactly what the gateway acts on" in again.stdout


def test_a_destination_of_snapshots_that_matter_to_others_is_left_and_an_endpoint_made(
    tiergate: Run, sandbox: Any
) -> None:
    theirs = sandbox.destination(URL, "invoice.created", payload="snapshot")
    made = tiergate("webhook", "ensure", "--print-secret")
    assert (made.exit_code, len(endpoints(sandbox))) == (0, 1)
    assert sandbox.destinations()[theirs]["enabled_events"] == ["invoice.created"]


def test_where_event_destinations_may_not_be_read_an_endpoint_is_mended_all_the_same(
    tiergate: Run, sandbox: Any
) -> None:
    sandbox.post("/v1/webhook_endpoints", url=URL, **{"enabled_events[0]": "invoice.paid"})
    fault = {"method": "GET", "path": "/v2/core/event_destinations", "status": 403, "times": 100}
    httpx.post(f"{sandbox.url}/_sandbox/faults", json={"api": [fault]}, timeout=30).raise_for_status()
    assert "is mended: added" in tiergate("webhook", "ensure").stdout


def test_a_file_that_cannot_be_written_makes_no_endpoint(tiergate: Run, sandbox: Any, tmp_path: Path) -> None:
    refused = tiergate("webhook", "ensure", "--write-env", str(tmp_path / "nowhere" / "settings.env"))
    assert (refused.exit_code, "Nothing was made" in refused.output) == (1, True)
    assert endpoints(sandbox) == []


def test_a_key_that_may_not_is_told_what_it_needs(tiergate: Run, sandbox: Any, environment: dict[str, str]) -> None:
    assert sandbox.url
    environment["STRIPE_SECRET_KEY"] = "sk_test_another_key_of_nobody"
    refused = tiergate("webhook", "ensure", "--print-secret")
    assert (refused.exit_code, "write for Webhook Endpoints" in refused.output) == (1, True)


def test_a_file_that_is_not_there_is_made_for_its_owner_only(tmp_path: Path) -> None:
    file = EnvFile(tmp_path / "new.env")
    file.put_first("NAME", "value", bool)
    file.close()
    assert (tmp_path / "new.env").read_text() == "NAME=value\n"
    assert stat.S_IMODE((tmp_path / "new.env").stat().st_mode) == 0o600


def test_a_file_is_as_it_was_if_nothing_is_put_into_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    kept = folder / "kept.env"
    kept.write_text("NAME=value\n")
    EnvFile(kept).close()
    assert [one.name for one in folder.iterdir()] == ["kept.env"]
    assert kept.read_text() == "NAME=value\n"


@pytest.mark.parametrize("mode", [0o640, 0o600])
def test_a_file_stays_its_owners_and_groups_with_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "tiergate.env"
    path.write_text("NAME=value\n")
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(path, 1234, 4321)
    path.chmod(mode)
    before = path.stat()
    file = EnvFile(path)
    file.put_first("NAME", "new", bool)
    file.close()
    after = path.stat()
    assert path.read_text() == "NAME=new,value\n"
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


def test_the_secrets_before_stay_however_they_are_spaced(tmp_path: Path) -> None:
    path = tmp_path / "tiergate.env"
    path.write_text('STRIPE_WEBHOOK_SECRET="whsec_a,  whsec_b ,whsec_a"\n')
    file = EnvFile(path)
    file.put_first("STRIPE_WEBHOOK_SECRET", "whsec_new", lambda one: one.startswith("whsec_"))
    file.close()
    assert path.read_text() == "STRIPE_WEBHOOK_SECRET=whsec_new,whsec_a,whsec_b\n"
