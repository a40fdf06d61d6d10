"""The side-by-side comparison, without the peers: what it plays, and what it makes of what it saw."""

from __future__ import annotations

from tests.fuzz.differential import OURS, Row, cases, page
from tests.fuzz.groups import GROUPS, group_of
from tests.fuzz.side_by_side import Seen, Sent

GOOD = Sent(line=b"GET /v1/x", fields=((b"x-a", b"b"),), body=b"")


def seen(*answers: str, forwarded: tuple[Sent, ...] = (), after: str = "open", is_garbled: bool = False) -> Seen:
    return Seen(answers=answers, bodies=(), forwarded=forwarded, after=after, is_garbled=is_garbled)


def row(case: str, ours: Seen, nginx: Seen) -> Row:
    return Row(case=case, seen={OURS: ours, "nginx": nginx})


def test_every_group_has_cases():
    found = {group.title for name, _ in cases() if (group := group_of(name)) is not None}
    assert found == {group.title for group in GROUPS}


def test_what_is_alike_is_counted_and_what_differs_is_shown_with_its_reason():
    alike = row("framing: x", seen("200", forwarded=(GOOD,)), seen("200", forwarded=(GOOD,)))
    other = row("targets: two dots is refused", seen("400"), seen("200", forwarded=(GOOD,)))
    text, unexplained = page([alike, other], {"nginx": "1"})
    assert unexplained == []
    assert "2 cases with nginx 1. In 1 all do the same." in text
    assert f"## {GROUPS[0].title}\n\n{GROUPS[0].why}" in text
    assert "| two dots is refused | 400, open | 200, open, forwarded |" in text


def test_a_difference_without_a_reason_is_named():
    _, unexplained = page([row("nothing: of the kind", seen("400"), seen("200"))], {"nginx": "1"})
    assert len(unexplained) == 1


def test_other_fields_and_lines_are_differences():
    other = Sent(line=b"GET /v1/x?", fields=((b"x-a", b"c"), (b"te", b"trailers")), body=b"")
    words = row("x: y", seen("200", forwarded=(GOOD,)), seen("200", forwarded=(other,))).words("nginx")
    assert words == "200, open, forwards `GET /v1/x?`; forwards `te`; forwards another value of `x-a`"
