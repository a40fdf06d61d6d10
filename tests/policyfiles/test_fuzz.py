"""Whatever the files hold, the answer is a policy or a list of faults."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.access import LIFECYCLE_ROWS
from gateway.policyfiles import Fault, PolicyInvalid, Sources, compile_policy
from gateway.policyfiles.sources import SourceFile

SHIPPED = (Path(__file__).parents[2] / "policies" / "tiergate.yaml").read_text(encoding="utf-8")

WORDS = [
    "version", "1", "default_tier", "tiers", "free", "pro", "limits", "unlimited", "features", "plans", "tier",
    "price", "lookup_key x", "price_1", "routes", "match", "cost", "requires", "GET /v1/**", "'* /**'", "/v1/{id}",
    "lifecycle", "past_due", "keep", "7d", "then", "refuse", "5 per second burst 10", "100 per day", "per", "burst",
    "requests", "meters", "tokens", "~", "", "0", "-1", "1e9", "é", "2 per 0 days", "9" * 30, "canceled",
]  # fmt: skip
SYNTAX = [
    ":", ": ", "\n", "\n  ", "\n    ", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "!!x ", "? ", "|", ">", "\t", "#",
    '"', "'", "---\n", "<<: ", "\x85", "\r", '"\\ud800"', '"\\0"', '"\\UFFFFFFFF"', "%YAML 1.1\n", "\U0001f600",
]  # fmt: skip

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
@given(tiers=trees, plans=trees, routes=trees, lifecycle=trees, meters=trees, default=st.sampled_from(["free", "[]"]))
def test_any_tree_under_the_right_sections_is_compiled_or_refused(
    tiers: str, plans: str, routes: str, lifecycle: str, meters: str, default: str
) -> None:
    sections = f"tiers: {tiers}\nplans: {plans}\nroutes: {routes}\nlifecycle: {lifecycle}\nmeters: {meters}\n"
    compiled_or_refused(f"version: 1\ndefault_tier: {default}\n{sections}".encode())


@settings(max_examples=300, deadline=None)
@given(cut=st.integers(0, 10_000), dropped=st.integers(0, 40), added=st.sampled_from(WORDS + SYNTAX))
def test_any_cut_or_splice_of_the_shipped_file_is_compiled_or_refused(cut: int, dropped: int, added: str) -> None:
    at = cut % len(SHIPPED)
    compiled_or_refused((SHIPPED[:at] + added + SHIPPED[at + dropped :]).encode())


def test_a_file_of_nothing_but_brackets_is_refused_quickly() -> None:
    for bracket in (b"[", b"{", b"- ", b"? ", b"a: \n "):
        compiled_or_refused(b"version: 1\ntiers: " + bracket * 60_000)
