"""Paths with one reading, and the name policy knows them by."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.errors import TargetRejected
from gateway.core.target import ENCODED_SLASH, canonical_path, check_length


@pytest.mark.parametrize(
    "path",
    [b"/", b"/v1/x", b"/v1/x/", b"/a.b/..c/...", b"/.well-known/x", b"/a-b_c~d!$&'()*+,=:@", b"/v1/doc:render"],
)
def test_a_plain_path_is_its_own_name(path):
    assert canonical_path(path) == path.decode()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/caf%c3%a9", "/caf%C3%A9"),
        (b"/a%20b", "/a%20b"),
        (b"/users/a%40b.com", "/users/a@b.com"),
        (b"/v1/doc%3Arender", "/v1/doc:render"),
        (b"/v1/doc%3arender", "/v1/doc:render"),
        (b"/%7Ehome", "/~home"),
        (b"/a%3Bb", "/a%3Bb"),
        (b"/a%3fb%23c", "/a%3Fb%23c"),
        (b"/100%25", "/100%25"),
        (b"/100%25/x", "/100%25/x"),
    ],
)
def test_no_spelling_decides_which_route_matches(path, name):
    assert canonical_path(path) == name


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"*", id="asterisk"),
        pytest.param(b"http://host/a", id="absolute-form"),
        pytest.param(b"host:443", id="authority-form"),
        pytest.param(b"//", id="two-slashes"),
        pytest.param(b"/a//b", id="empty-segment"),
        pytest.param(b"/a/./b", id="dot"),
        pytest.param(b"/a/../b", id="two-dots"),
        pytest.param(b"/..", id="two-dots-last"),
        pytest.param(b"/.", id="dot-last"),
        pytest.param(b"/%2e%2e/b", id="encoded-dots"),
        pytest.param(b"/.%2E/b", id="half-encoded-dots"),
        pytest.param(b"/a%2ejson", id="encoded-dot-in-a-name"),
        pytest.param(b"/a%2fb", id="encoded-slash"),
        pytest.param(b"/a%2Fb", id="encoded-slash-capital"),
        pytest.param(b"/a%5cb", id="encoded-backslash"),
        pytest.param(b"/a\\b", id="backslash"),
        pytest.param(b"/a;b=c/d", id="path-parameter"),
        pytest.param(b"/a%00", id="nul"),
        pytest.param(b"/a%0d%0ab", id="line-break"),
        pytest.param(b"/a%7f", id="delete"),
        pytest.param(b"/a%", id="escape-without-digits"),
        pytest.param(b"/a%4", id="escape-with-one-digit"),
        pytest.param(b"/a%zz", id="escape-that-is-none"),
        pytest.param(b"/a%+1", id="escape-with-a-sign"),
        pytest.param(b"/a%u0041", id="escape-of-another-kind"),
        pytest.param(b"/premiu%6d", id="encoded-letter"),
        pytest.param(b"/v%31", id="encoded-digit"),
        pytest.param(b"/%5Ftiergate/health", id="encoded-underscore"),
        pytest.param(b"/a%2Db", id="encoded-hyphen"),
        pytest.param(b"/a%252e", id="encoded-twice"),
        pytest.param(b"/a%25zz%2541", id="encoded-twice-later"),
        pytest.param(b"/a%25%36d", id="encoded-twice-in-halves"),
        pytest.param(b"/%c0%ae%c0%ae/", id="overlong-dots"),
        pytest.param(b"/a%ff", id="not-utf-8"),
        pytest.param(b"/caf\xc3\xa9", id="bare-utf-8"),
        pytest.param(b"/a b", id="space"),
        pytest.param(b"/a\tb", id="tab"),
        pytest.param(b"/a\0b", id="bare-nul"),
        pytest.param(b"/a?b", id="query"),
        pytest.param(b"/a#b", id="fragment"),
        pytest.param(b"/a|b", id="bar"),
        pytest.param(b"/{id}", id="braces"),
        pytest.param(b'/a"b', id="quote"),
    ],
)
def test_a_path_with_two_readings_is_refused(path):
    with pytest.raises(TargetRejected):
        canonical_path(path)


_tokens = st.sampled_from(
    [
        b"/",
        b".",
        b"..",
        b"a",
        b"Z",
        b"9",
        b"_",
        b"-",
        b"~",
        b":",
        b"@",
        b";",
        b"%",
        b"%2",
        b"%25",
        b"%2e",
        b"%2F",
        b"%5c",
        b"%00",
        b"%20",
        b"%3a",
        b"%41",
        b"%c3%a9",
        b"%C0",
        b"%ff",
        b"5c",
        b"2e",
        b"\\",
        b" ",
        b"?",
        b"\xc3\xa9",
        b"*",
        b"|",
    ]
)
_paths = st.lists(_tokens, max_size=14).map(lambda parts: b"/" + b"".join(parts)) | st.binary(max_size=20)


@given(_paths)
@example(b"/%25%32%65")
def test_what_is_accepted_holds_nothing_dangerous_after_any_decoding(path):
    try:
        name = canonical_path(path)
    except TargetRejected:
        return
    decoded = path
    for _ in range(4):
        segments = decoded.split(b"/")
        assert segments[0] == b""
        assert b"" not in segments[1:-1]
        assert not {b".", b".."} & set(segments)
        assert b"\\" not in decoded
        assert not any(byte < 0x20 or byte == 0x7F for byte in decoded)
        assert decoded.count(b"/") == path.count(b"/")
        decoded = unquote_to_bytes(decoded)
    assert unquote_to_bytes(name) == unquote_to_bytes(path)
    assert name.isascii()


@given(_paths)
def test_a_name_is_a_path_with_the_same_name(path):
    try:
        name = canonical_path(path)
    except TargetRejected:
        return
    assert canonical_path(name.encode()) == name


@given(_paths, _paths)
def test_paths_that_decode_alike_have_one_name(one, other):
    try:
        names = canonical_path(one), canonical_path(other)
    except TargetRejected:
        return
    assert (names[0] == names[1]) == (unquote_to_bytes(one) == unquote_to_bytes(other))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/projects/group%2Fproject", "/projects/group%2Fproject"),
        (b"/projects/group%2fproject", "/projects/group%2Fproject"),
        (b"/shot/https%3a%2f%2Fa.example%2F", "/shot/https:%2F%2Fa.example%2F"),
        (b"/a%2f/b", "/a%2F/b"),
        (b"/.well-known%2Fx", "/.well-known%2Fx"),
    ],
)
def test_an_encoded_slash_that_is_kept_is_three_bytes_of_its_segment(path, name):
    assert canonical_path(path, keeps_encoded_slashes=True) == name
    with pytest.raises(TargetRejected, match="encoded slash"):
        canonical_path(path)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(b"/a/..%2Fb", id="two-dots-before"),
        pytest.param(b"/a%2f../b", id="two-dots-behind"),
        pytest.param(b"/a/.%2fb", id="one-dot"),
        pytest.param(b"/a%2F..%2Fb", id="two-dots-between"),
        pytest.param(b"/a%2F.", id="dot-last"),
        pytest.param(b"/a%252Fb", id="encoded-twice"),
        pytest.param(b"/a%2F%2e%2e", id="encoded-dots"),
        pytest.param(b"/a%2F%5cb", id="encoded-backslash"),
        pytest.param(b"/a%2F//b", id="empty-segment"),
        pytest.param(b"/a%2", id="half-an-escape"),
    ],
)
def test_a_kept_slash_opens_no_other_way(path):
    with pytest.raises(TargetRejected):
        canonical_path(path, keeps_encoded_slashes=True)


_with_slashes = st.lists(_tokens | st.sampled_from([b"%2f", b"%2F"]), max_size=14).map(
    lambda parts: b"/" + b"".join(parts)
)


def _reading(path: bytes, *, keeps: bool) -> str | None:
    try:
        return canonical_path(path, keeps_encoded_slashes=keeps)
    except TargetRejected:
        return None


@given(_with_slashes)
def test_keeping_slashes_changes_nothing_for_a_path_without_one(path):
    if b"%2f" not in path.lower():
        assert _reading(path, keeps=True) == _reading(path, keeps=False)


@given(_with_slashes)
@example(b"/%25%2f2f")
@example(b"/..%2f")
def test_a_kept_slash_is_accepted_and_named_as_any_other_letter_in_its_place(path):
    """The oracle: the same path with a letter that stands for nothing else in place of each encoded slash."""
    lettered = path.replace(b"%2f", b"$").replace(b"%2F", b"$") if b"$" not in path else path
    expected = _reading(lettered, keeps=False)
    decoded = unquote_to_bytes(path)
    if expected is not None and {b".", b".."} & set(decoded.split(b"/")):
        expected = None
    found = _reading(path, keeps=True)
    assert found == (None if expected is None else expected.replace("$", ENCODED_SLASH))


@given(_with_slashes)
def test_a_kept_slash_parts_no_segments_and_hides_no_dot_segment(path):
    name = _reading(path, keeps=True)
    if name is None:
        return
    assert (
        name.split("/")[1:]
        == [
            _reading(b"/" + part, keeps=True)[1:]  # type: ignore[index]
            for part in path.split(b"/")[1:]
        ]
    )
    assert not {b".", b".."} & set(unquote_to_bytes(path).split(b"/"))
    assert _reading(name.encode(), keeps=True) == name


@pytest.mark.parametrize("query", [b"a#b", b"a b", b"a\0", b"a\x7f", b"a\r\nb", b"\xc3\xa4"])
def test_a_query_with_a_byte_that_no_uri_holds_is_refused(query):
    with pytest.raises(TargetRejected):
        check_length(b"/v1", query)


def test_any_other_query_passes_whatever_it_says():
    check_length(b"/v1", bytes(byte for byte in range(0x21, 0x7F) if byte != ord("#")) + b"%zz%00../..//?")
