"""Every refusal has a file in bad/, with the expected faults beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.policyfiles import PolicyInvalid, Sources, compile_policy
from gateway.policyfiles.sources import SourceFile

BAD = Path(__file__).parent / "bad"
CASES = sorted(path.stem for path in BAD.glob("*.yaml"))


def faults_of(*paths: Path) -> str:
    files = tuple(SourceFile(name=path.name, content=path.read_bytes()) for path in paths)
    with pytest.raises(PolicyInvalid) as caught:
        compile_policy(Sources(files=files, faults=()))
    lines = []
    for fault in caught.value.faults:
        hint = "" if fault.suggestion is None else f"; did you mean {fault.suggestion!r}?"
        lines.append(f"{fault.line}:{fault.column}: {fault.message}{hint}\n")
    return "".join(lines)


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_refused_with_every_fault_in_its_place(case: str) -> None:
    expected = (BAD / f"{case}.expected").read_text(encoding="utf-8")
    assert faults_of(BAD / f"{case}.yaml") == expected


@pytest.mark.parametrize("case", [case for case in CASES if b"hunter2" in (BAD / f"{case}.yaml").read_bytes()])
def test_a_password_or_a_fields_value_is_in_no_fault_and_not_in_the_line_shown_with_it(case: str) -> None:
    path = BAD / f"{case}.yaml"
    with pytest.raises(PolicyInvalid) as caught:
        compile_policy(Sources(files=(SourceFile(name=path.name, content=path.read_bytes()),), faults=()))
    for fault in caught.value.faults:
        assert "hunter2" not in f"{fault}{fault.source_line}"


def test_every_expectation_has_its_file() -> None:
    assert sorted(path.stem for path in BAD.glob("*.expected")) == CASES
    assert len(CASES) > 180
