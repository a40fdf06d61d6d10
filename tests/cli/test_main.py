from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from gateway import __version__
from gateway.cli.main import cli

pytestmark = pytest.mark.slow


def every_command(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))


@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*path, "--help"], prog_name="tiergate")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"Usage: tiergate {' '.join(path)}")


@pytest.mark.parametrize("path", [(), *every_command()], ids=lambda path: " ".join(path) or "tiergate")
def test_a_list_of_commands_says_in_whole_sentences_what_they_do(path: tuple[str, ...]) -> None:
    listed = CliRunner().invoke(cli, [*path, "--help"], terminal_width=80).stdout.partition("Commands:\n")[2]
    assert [line for line in listed.splitlines() if line.endswith("...")] == []


OURS = ("serve", "doctor", "keys", "customers", "events", "sync", "migrate", "secret")


@pytest.mark.parametrize("path", [p for p in every_command() if p[0] in OURS], ids=" ".join)
def test_every_command_has_an_example_that_calls_it(path: tuple[str, ...]) -> None:
    command: click.Command | None = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    if not isinstance(command, click.Group):
        assert f"tiergate {' '.join(path)}" in CliRunner().invoke(cli, [*path, "--help"]).stdout


def test_no_option_takes_a_secret() -> None:
    for path in every_command():
        text = CliRunner().invoke(cli, [*path, "--help"]).stdout.lower()
        for word in ("--token", "--secret", "--pepper", "--password", "--stripe"):
            assert word not in text


def test_an_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(cli, ["kyes"])
    assert result.exit_code == 2
    assert "No such command" in result.output


def test_the_version_is_told() -> None:
    assert __version__ in CliRunner().invoke(cli, ["--version"]).output


def test_missing_settings_are_all_named_with_examples(tmp_path: Path, environment: dict[str, str]) -> None:
    names = [name for name in environment if name.startswith(("TIERGATE_", "STRIPE_"))]
    for name in names:
        del environment[name]
    result = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "customers", "list"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    for name in ("TIERGATE_KEY_PEPPER", "TIERGATE_ADMIN_TOKEN", "TIERGATE_SERVER_TOKEN"):
        assert f"{name}: is not set" in result.stderr
    assert "tiergate secret" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_failure_of_a_part_is_one_line_with_its_code(
    tmp_path: Path, environment: dict[str, str], migrated: Callable[..., Result]
) -> None:
    migrated("customers", "create", "--user-id", "ada")
    result = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "keys", "revoke", "nokey", "--user-id", "ada"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == "tiergate: There is no live key 'nokey'. (key-not-found)\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("migrate",),
        ("customers", "create", "--user-id", "ada"),
        ("keys", "list", "--user-id", "bob"),
        ("events", "list"),
        ("sync", "--user-id", "bob"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_only_serve_needs_an_upstream(
    migrated: Callable[..., Result], environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    """A gateway inside an app has none, and its keys are issued and revoked all the same."""
    del environment["TIERGATE_UPSTREAM_URL"]
    assert migrated("customers", "create", "--user-id", "bob").exit_code == 0
    result = migrated(*arguments)
    assert result.exit_code == 0, f"{result.exception!r}: {result.output}"
