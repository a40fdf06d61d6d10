"""Whatever the files hold, the answer is a policy or a list of faults."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.lifecycle import LIFECYCLE_ROWS
from gateway.policyfiles import Fault, PolicyInvalid, Sources, compile_policy
from gateway.policyfiles.sources import SourceFile

pytestmark = pytest.mark.slow

SHIPPED = (Path(__file__).parents[2] / "policies" / "tiergate.yaml").read_text(encoding="utf-8")

WORDS = [
    "version", "1", "default_tier", "tiers", "free", "pro", "limits", "unlimited", "features", "plans", "tier",
    "price", "lookup_key x", "price_1", "routes", "match", "cost", "requires", "GET /v1/**", "'* /**'", "/v1/{id}",
    "lifecycle", "past_due", "keep", "7d", "then", "refuse", "5 per second burst 10", "100 per day", "per", "burst",
    "requests", "meters", "tokens", "~", "", "0", "-1", "1e9", "é", "2 per 0 days", "9" * 30, "canceled",
    "upstreams", "default", "servers", "http://a", "https://a weight 2", "balance", "eject", "3 failures for 10s",
    "check", "GET /up every 1s", "host", "hosts", "tls", "ca", "key", "max_age", "cors", "origins",
    "https://a.example", "off", "upstream", "timeout", "connect", "30s", "max_body", "20MB", "rewrite", "strip /v1",
    "request_headers", "set", "add", "remove", "X-A", "file", ".", "encoded_slashes", "yes", "websocket",
    "cost_per_message", "max_message", "credentials",
]  # fmt: skip
SYNTAX = [
    ":", ": ", "\n", "\n  ", "\n    ", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "!!x ", "? ", "|", ">", "\t", "#",
    '"', "'", "---\n", "<<: ", "\x85", "\r", '"\\ud800"', '"\\0"', '"\\UFFFFFFFF"', "%YAML 1.1\n", "\U0001f600",
]  # fmt: skip
SECTIONS = ("tiers", "plans", "routes", "lifecycle", "meters", "upstreams", "cors")

tangled = st.lists(st.sampled_from(WORDS + SYNTAX), max_size=60).map("".join)
trees = st.recursive(
    st.sampled_from(WORDS).map(lambda word: f'"{word}"' if "'" not in word else word),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(st.sampled_from(WORDS), inner), max_size=5).map(
            lambda pairs: "{" + ", ".join(f'"{key}": {value}'.replace("'* /**'", "* /**") for key, value in pairs) + "}"
        )
    ),
    max_leaves=30,
)


def compiled_or_refused(*contents: bytes) -> None:
    files = tuple(SourceFile(name=f"{number}.yaml", content=content) for number, content in enumerate(contents))
    faults: tuple[Fault, ...] = ()
    try:
        policy = compile_policy(Sources(files=files, faults=())).policy
    except PolicyInvalid as invalid:
        faults = invalid.faults
    else:
        assert policy.tiers
        assert tuple(policy.lifecycle) == LIFECYCLE_ROWS
        return
    assert faults
    assert all(fault.message and fault.line >= 0 for fault in faults)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_compiled_or_refused(content: bytes) -> None:
    compiled_or_refused(content)


@settings(max_examples=500, deadline=None)
@given(tangled)
def test_any_tangle_of_policy_words_is_compiled_or_refused(text: str) -> None:
    compiled_or_refused(text.encode())


@settings(max_examples=500, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(SECTIONS, trees)), st.sampled_from(["free", "[]"]))
def test_any_tree_under_the_right_sections_is_compiled_or_refused(sections: dict[str, str], default: str) -> None:
    text = "".join(f"{name}: {tree}\n" for name, tree in sections.items())
    compiled_or_refused(f"version: 1\ndefault_tier: {default}\n{text}".encode())


@settings(max_examples=300, deadline=None)
@given(cut=st.integers(0, 10_000), dropped=st.integers(0, 40), added=st.sampled_from(WORDS + SYNTAX))
def test_any_cut_or_splice_of_the_shipped_file_is_compiled_or_refused(cut: int, dropped: int, added: str) -> None:
    at = cut % len(SHIPPED)
    compiled_or_refused((SHIPPED[:at] + added + SHIPPED[at + dropped :]).encode())


def test_a_file_of_nothing_but_brackets_is_refused_quickly() -> None:
    for bracket in (b"[", b"{", b"- ", b"? ", b"a: \n "):
        compiled_or_refused(b"version: 1\ntiers: " + bracket * 60_000)


KEYS = (
    "upstream", "timeout", "max_body", "rewrite", "request_headers", "response_headers", "cors", "encoded_slashes",
    "websocket", "servers", "balance", "eject", "check", "host", "hosts", "tls", "max_age",
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(key=st.sampled_from(KEYS), value=trees)
def test_any_tree_under_a_key_about_forwarding_is_compiled_or_refused(key: str, value: str) -> None:
    rest = "version: 1\ndefault_tier: free\ntiers: {free: {limits: unlimited}}\n"
    route = f"routes: [{{match: /v1/**, {key}: {value}}}]\nupstreams: {{default: {{servers: [http://a]}}}}\n"
    group = f"routes: [{{match: /v1/**}}]\nupstreams: {{default: {{servers: [http://a], {key}: {value}}}}}\n"
    compiled_or_refused((rest + route).encode())
    if key != "servers":
        compiled_or_refused((rest + group).encode())
