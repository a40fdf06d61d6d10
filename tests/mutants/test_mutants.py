"""The mutants can be tried, and the one who tries them tells the killed from the others. `make mutants` tries them."""

from __future__ import annotations

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import ROOT, Mutant, MutantInvalid, try_mutant

MODULE = "def double(n):\n    return n * 2\n"
TESTS = "from double import double\n\ndef test_double():\n    assert double(3) == 6\n"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.fault)
def test_a_mutant_finds_its_text_and_its_tests(mutant):
    assert (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.text) == 1
    assert mutant.text != mutant.replacement
    for test in mutant.tests:
        assert (ROOT / test.partition("::")[0]).is_file()


def test_there_are_many_and_each_is_another_fault():
    assert len({mutant.fault for mutant in MUTANTS}) == len(MUTANTS) >= 60


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "double.py").write_text(MODULE)
    (tmp_path / "test_double.py").write_text(TESTS)
    return tmp_path


def mutant(text, replacement):
    return Mutant("a fault", "double.py", text, replacement, ("test_double.py",))


def test_a_mutant_is_killed_by_the_test_that_fails(tree):
    assert try_mutant(mutant("n * 2", "n * 3"), tree).killed_by == "test_double.py::test_double"
    assert (tree / "double.py").read_text() == MODULE


def test_a_mutant_that_no_test_sees_survives(tree):
    assert try_mutant(mutant("n * 2", "n + n"), tree).killed_by is None


@pytest.mark.parametrize("marks", ["pytest.mark.slow", "[pytest.mark.slow, pytest.mark.timeout(9)]"])
def test_a_mutant_whose_tests_are_all_slow_is_tried_with_them(tree, marks):
    (tree / "test_double.py").write_text(f"import pytest\n\npytestmark = {marks}\n" + TESTS)
    assert try_mutant(mutant("n * 2", "n * 3"), tree).killed_by == "test_double.py::test_double"


def test_a_text_that_is_not_there_once_is_an_error(tree):
    for text in ("n * 4", "n"):
        with pytest.raises(MutantInvalid, match=r"not once"):
            try_mutant(mutant(text, "m"), tree)


def test_a_mutant_that_keeps_tests_from_running_is_not_killed(tree):
    with pytest.raises(MutantInvalid, match="cannot be run"):
        try_mutant(mutant("return n * 2", "return ("), tree)
