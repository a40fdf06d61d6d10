"""A file that a command writes is whole or as it was."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from gateway.cli.output import output_to


@pytest.mark.parametrize("appends", [True, False])
def test_what_breaks_off_leaves_the_file_as_it_was(tmp_path: Path, *, appends: bool) -> None:
    file = tmp_path / "rows"
    file.write_text("before\n", encoding="utf-8")

    def write() -> None:
        with output_to(file, appends=appends) as (stream, has_some):
            assert has_some is appends
            stream.write("some\n" * 10_000)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert file.read_text(encoding="utf-8") == "before\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_is_replaced_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    file, link = tmp_path / "rows", tmp_path / "link"
    file.write_text("before", encoding="utf-8")
    file.chmod(0o640)
    link.symlink_to(file)
    with output_to(link, appends=False) as (stream, _):
        stream.write("after")
    assert (link.is_symlink(), file.read_text(encoding="utf-8"), file.stat().st_mode & 0o777) == (True, "after", 0o640)


def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    with output_to(Path("/dev/null"), appends=False) as (stream, _):
        stream.write("gone")
    with pytest.raises(click.ClickException, match="cannot be written"), output_to(tmp_path, appends=False):
        pass
