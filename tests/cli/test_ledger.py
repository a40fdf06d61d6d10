from __future__ import annotations

import contextlib
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]


@pytest.fixture
def ledger(environment: dict[str, str]) -> Path:
    return Path(environment["TIERGATE_DATA_DIR"]) / "ledger.sqlite3"


@pytest.fixture
def serving(migrated: Run, ledger: Path) -> Run:
    """A ledger with a customer that is in its -wal file only, because somebody has it open."""
    with contextlib.closing(sqlite3.connect(ledger)) as gateway:
        gateway.execute("SELECT count(*) FROM customers").fetchone()
        assert migrated("customers", "create", "--user-id", "ada").exit_code == 0
        yield migrated


def users(file: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(file)) as ledger:
        return [user for (user,) in ledger.execute("SELECT user_id FROM customers")]


def test_a_backup_holds_what_was_just_written(serving: Run, ledger: Path, tmp_path: Path) -> None:
    shutil.copy(ledger, tmp_path / "copied")
    assert users(tmp_path / "copied") == []  # which is why there is a command
    backup = tmp_path / "backup.sqlite3"
    result = serving("ledger", "backup", str(backup))
    assert result.exit_code == 0, result.output
    assert users(backup) == ["ada"]
    assert [path.name for path in tmp_path.glob("*backup*")] == ["backup.sqlite3"]
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_a_restored_backup_is_used_like_the_ledger_it_was_taken_of(migrated: Run, ledger: Path, tmp_path: Path) -> None:
    migrated("customers", "create", "--user-id", "ada")
    migrated("ledger", "backup", str(tmp_path / "backup.sqlite3"))
    migrated("customers", "create", "--user-id", "bob")
    for file in ledger.parent.glob("ledger.sqlite3*"):
        file.unlink()
    shutil.copy(tmp_path / "backup.sqlite3", ledger)
    assert migrated("migrate").exit_code == 0
    assert migrated("customers", "create", "--user-id", "cleo").exit_code == 0
    assert sorted(users(ledger)) == ["ada", "cleo"]
    with contextlib.closing(sqlite3.connect(ledger)) as restored:
        assert restored.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_no_backup_overwrites_anything(migrated: Run, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("yesterday's")
    result = migrated("ledger", "backup", str(tmp_path / "precious"))
    assert result.exit_code == 1
    assert "exists, and no backup is overwritten" in result.stderr
    assert (tmp_path / "precious").read_text() == "yesterday's"


def test_a_backup_that_cannot_be_written_says_why_and_leaves_nothing(migrated: Run, tmp_path: Path) -> None:
    result = migrated("ledger", "backup", str(tmp_path / "nowhere" / "backup"))
    assert result.exit_code == 1
    assert "cannot be written: No such file or directory" in result.stderr


def test_a_damaged_ledger_makes_no_backup(migrated: Run, ledger: Path, tmp_path: Path) -> None:
    ledger.write_bytes(ledger.read_bytes()[:4096] + b"\x55" * 40_000)
    result = migrated("ledger", "backup", str(tmp_path / "backup"))
    assert result.exit_code == 1
    assert list(tmp_path.glob("*backup*")) == []


def test_without_a_ledger_there_is_nothing_to_back_up(tiergate: Run, tmp_path: Path) -> None:
    result = tiergate("ledger", "backup", str(tmp_path / "backup"))
    assert result.exit_code == 1
    assert not (tmp_path / "backup").exists()


def test_postgresql_is_backed_up_by_its_own_tools(tiergate: Run, environment: dict[str, str], tmp_path: Path) -> None:
    environment["TIERGATE_LEDGER_URL"] = "postgresql://user:hunter2@127.0.0.1:9/tiergate"
    result = tiergate("ledger", "backup", str(tmp_path / "backup"))
    assert result.exit_code == 1
    assert "pg_dump" in result.stderr
    assert "hunter2" not in result.output
