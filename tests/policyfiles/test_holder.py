"""Edits of a real directory under a running holder."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from gateway.policyfiles import CompiledPolicy, LastGood, PolicyHolder, PolicyInvalid, Sources, load_policy
from gateway.policyfiles import holder as holder_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.core.policy import Policy


@pytest.fixture
def directory(policies: Callable[..., Path], good: str) -> Path:
    return policies(api=good)


@pytest.fixture
def holder(directory: Path) -> PolicyHolder:
    return PolicyHolder(directory)


def edited(good: str, burst: int) -> str:
    return good.replace("burst 10,", f"burst {burst},")


async def until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110 - what is awaited happens in a file and a thread, without an event
        await asyncio.sleep(0.01)


def burst_of(policy: Policy) -> int:
    return policy.tiers["free"].limits[0].burst  # type: ignore[union-attr]  # the first limit is a rate


def test_there_is_no_holder_without_a_valid_policy(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid):
        PolicyHolder(tmp_path)


def test_an_edit_is_taken_when_two_readings_agree(holder: PolicyHolder, directory: Path, good: str) -> None:
    (directory / "api.yaml").write_text(edited(good, 20))
    holder.poll()
    assert burst_of(holder.current) == 10
    holder.poll()
    assert burst_of(holder.current) == 20
    assert (holder.reloads, holder.refusals, holder.last_error) == (1, 0, None)


def test_a_policy_in_hand_is_not_changed_by_a_reload(holder: PolicyHolder, directory: Path, good: str) -> None:
    in_hand = holder.current
    (directory / "api.yaml").write_text(edited(good, 20))
    assert holder.reload()
    assert burst_of(in_hand) == 10
    assert holder.current is not in_hand


def test_an_invalid_edit_keeps_the_running_policy_and_is_logged_once(
    holder: PolicyHolder, directory: Path, good: str
) -> None:
    running = holder.current
    (directory / "api.yaml").write_text(good.replace("tier: pro", "tier: por"))
    with capture_logs() as logs:
        for _ in range(6):
            holder.poll()
    assert holder.current is running
    assert (holder.reloads, holder.refusals) == (0, 1)
    assert holder.last_error is not None
    assert [entry["event"] for entry in logs] == ["policy refused"]
    assert "did you mean 'pro'?" in logs[0]["faults"][0]


def test_going_back_to_the_running_content_clears_the_error_and_says_so(
    holder: PolicyHolder, directory: Path, good: str
) -> None:
    (directory / "api.yaml").write_text("version: 1\n")
    assert not holder.reload()
    (directory / "api.yaml").write_text(good)
    with capture_logs() as logs:
        for _ in range(4):
            holder.poll()
    assert holder.last_error is None
    assert (holder.reloads, holder.refusals) == (0, 1)
    assert [entry["event"] for entry in logs] == ["policy files are valid again and say what is running"]


def test_a_file_that_grows_between_readings_is_not_taken_half_way(
    holder: PolicyHolder, directory: Path, good: str
) -> None:
    """Every prefix is read while the file grows; valid prefixes are among them."""
    text = edited(good, 20)
    for end in range(0, len(text), 7):
        (directory / "api.yaml").write_text(text[:end])
        holder.poll()
        assert burst_of(holder.current) == 10
    assert holder.refusals == 0
    (directory / "api.yaml").write_text(text)
    holder.poll()
    holder.poll()
    assert burst_of(holder.current) == 20


def test_a_writer_that_pauses_is_taken_at_its_word_so_files_should_be_renamed_into_place(
    holder: PolicyHolder, directory: Path, good: str
) -> None:
    (directory / "api.yaml").write_text(good[: good.index("""  - match: "* /v1/**\"""")])
    holder.poll()
    holder.poll()
    assert [route.pattern for route in holder.current.routes] == ["POST /v1/render/**"]


def test_a_file_saved_by_rename_is_taken(holder: PolicyHolder, directory: Path, good: str) -> None:
    (directory / ".api.yaml.swp").write_text(edited(good, 20))
    (directory / ".api.yaml.swp").replace(directory / "api.yaml")
    holder.poll()
    holder.poll()
    assert burst_of(holder.current) == 20
    assert holder.refusals == 0


def test_a_directory_gone_for_a_moment_changes_nothing(holder: PolicyHolder, directory: Path) -> None:
    running = holder.current
    away = directory.with_name("away")
    directory.rename(away)
    holder.poll()
    holder.poll()
    away.rename(directory)
    holder.poll()
    assert holder.current is running
    assert holder.refusals == 0


def test_a_directory_gone_for_good_is_reported_and_the_policy_stays(
    holder: PolicyHolder, directory: Path, good: str
) -> None:
    running = holder.current
    shutil.rmtree(directory)
    for _ in range(8):
        holder.poll()
    assert holder.current is running
    assert holder.refusals == 1
    assert "no such directory" in str(holder.last_error)
    directory.mkdir()
    (directory / "api.yaml").write_text(edited(good, 20))
    holder.poll()
    holder.poll()
    assert burst_of(holder.current) == 20
    assert holder.last_error is None


def test_a_swapped_volume_of_links_is_taken_whole(tmp_path: Path, good: str) -> None:
    """Kubernetes: files are links into ..data, which is replaced by one rename."""
    mount = tmp_path / "mount"
    for version, burst in (("..v1", 10), ("..v2", 20)):
        (mount / version).mkdir(parents=True)
        (mount / version / "api.yaml").write_text(edited(good, burst))
    (mount / "..data").symlink_to("..v1")
    (mount / "api.yaml").symlink_to("..data/api.yaml")
    holder = PolicyHolder(mount)
    (mount / "..data_tmp").symlink_to("..v2")
    (mount / "..data_tmp").replace(mount / "..data")
    shutil.rmtree(mount / "..v1")
    holder.poll()
    holder.poll()
    assert burst_of(holder.current) == 20
    assert holder.refusals == 0


def test_a_reload_on_request_does_not_wait(holder: PolicyHolder, directory: Path, good: str) -> None:
    (directory / "api.yaml").write_text(edited(good, 20))
    assert holder.reload()
    assert burst_of(holder.current) == 20
    assert holder.reloads == 1


def test_the_hash_after_a_reload_is_that_of_a_fresh_start(holder: PolicyHolder, directory: Path, good: str) -> None:
    (directory / "api.yaml").write_text(edited(good, 20))
    holder.reload()
    assert holder.current.policy_hash == load_policy(directory).policy_hash


async def test_the_watch_takes_edits_and_refuses_bad_ones_until_cancelled(directory: Path, good: str) -> None:
    holder = PolicyHolder(directory, poll_s=0.01)
    watch = asyncio.create_task(holder.watch())
    try:
        async with asyncio.timeout(60):
            (directory / "api.yaml").write_text(edited(good, 20))
            await until(lambda: holder.reloads >= 1)
            (directory / "api.yaml").write_text("tiers: [")
            await until(lambda: holder.refusals >= 1)
            assert burst_of(holder.current) == 20
            (directory / "api.yaml").write_text(edited(good, 30))
            await until(lambda: holder.reloads >= 2)
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
    assert burst_of(holder.current) == 30


async def test_asking_for_a_reload_takes_it_in_the_watch_and_returns_at_once(
    directory: Path, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    compile_policy = holder_module.compile_policy

    def compile_and_tell(sources: Sources, **options: bool) -> CompiledPolicy:
        threads.append(threading.current_thread())
        return compile_policy(sources, **options)

    holder = PolicyHolder(directory, poll_s=3600)
    monkeypatch.setattr(holder_module, "compile_policy", compile_and_tell)
    watch = asyncio.create_task(holder.watch())
    try:
        async with asyncio.timeout(60):
            (directory / "api.yaml").write_text(edited(good, 20))
            holder.ask_reload()
            assert threads == []
            await until(lambda: holder.reloads == 1)
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
    assert burst_of(holder.current) == 20
    assert threading.main_thread() not in threads


async def test_readers_see_whole_policies_while_the_directory_is_rewritten(directory: Path, good: str) -> None:
    """Two limits are always edited together; no reader ever sees one without the other."""

    def paired(number: int) -> str:
        return good.replace("5 per second burst 10,", f"{number} per second burst {number},").replace(
            "100 requests per", f"{number} requests per"
        )

    holder = PolicyHolder(directory, poll_s=0.001)
    (directory / "api.yaml").write_text(paired(11))
    holder.reload()
    watch = asyncio.create_task(holder.watch())
    seen: set[int] = set()
    try:
        for number in range(12, 2000):  # a busy machine takes few of them
            if number > 32 and len(seen) > 1:
                break
            (directory / "api.yaml").write_text(paired(number))
            for _ in range(20):
                rate, quota = holder.current.tiers["free"].limits
                assert rate.units == quota.units
                seen.add(rate.units)
                await asyncio.sleep(0.001)
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
    assert len(seen) > 1


def test_who_starts_later_in_a_run_begins_with_the_policy_in_force_and_judges_the_directory_when_it_has_settled(
    directory: Path, good: str, tmp_path: Path
) -> None:
    kept = LastGood(tmp_path / "kept.json")
    first = PolicyHolder(directory, last_good=kept)
    (directory / "api.yaml").write_text(edited(good, 20))
    first.reload()
    (directory / "api.yaml").write_text("routes: nonsense")
    first.reload()
    later = PolicyHolder(directory, last_good=kept)
    assert later.current.policy_hash == first.current.policy_hash
    for _ in range(2):
        later.poll()
    assert later.last_error is not None
    assert burst_of(later.current) == 20
    (directory / "api.yaml").write_text(edited(good, 30))
    for _ in range(2):
        later.poll()
    assert burst_of(PolicyHolder(directory, last_good=kept).current) == 30


def test_a_policy_that_cannot_be_kept_is_in_force_all_the_same(directory: Path, tmp_path: Path) -> None:
    with capture_logs() as logs:
        holder = PolicyHolder(directory, last_good=LastGood(tmp_path / "nowhere" / "kept.json"))
    assert burst_of(holder.current) == 10
    assert [entry["event"] for entry in logs] == ["the policy in force cannot be kept for later workers"]
