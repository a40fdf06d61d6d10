"""What policy says about forwarding, applied to one request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import forwarding
from gateway.core.errors import TargetRejected
from gateway.core.forward_rules import (
    edit_lines,
    effective_max_body,
    effective_timeouts,
    host_name,
    rewrite_path,
    why_not_in_requests,
    why_not_in_responses,
)
from gateway.core.target import canonical_path
from gateway.core.upstream_policy import NO_OPTIONS, ForwardOptions, ForwardTimeouts, HeaderEdit, Rewrite

SETTINGS = ForwardTimeouts(connect_s=5, first_byte_s=60, idle_s=60, total_s=0)


@pytest.mark.parametrize(
    ("rewrite", "sent", "forwarded"),
    [
        (None, b"/v1/x", b"/v1/x"),
        (Rewrite(strip="/v1"), b"/v1/x", b"/x"),
        (Rewrite(strip="/v1"), b"/v1", b"/"),
        (Rewrite(strip="/v1"), b"/v1/", b"/"),
        (Rewrite(strip="/v1"), b"/v1/x/", b"/x/"),
        (Rewrite(strip="/v1/eu"), b"/v1/eu/x", b"/x"),
        (Rewrite(prefix="/api"), b"/v1/x", b"/api/v1/x"),
        (Rewrite(prefix="/api"), b"/", b"/api/"),
        (Rewrite(strip="/v1", prefix="/api/v2"), b"/v1/x", b"/api/v2/x"),
        (Rewrite(strip="/v1", prefix="/api"), b"/v1", b"/api"),
        (Rewrite(strip="/caf%C3%A9"), b"/caf%c3%a9/%3a:%2fx", b"/%3a:%2fx"),
        (Rewrite(strip="/a:b"), b"/a%3ab/x", b"/x"),
    ],
)
def test_a_rewrite_changes_the_start_and_passes_the_rest_byte_for_byte(rewrite, sent, forwarded):
    assert rewrite_path(rewrite, sent) == forwarded


_segments = st.lists(st.sampled_from([b"a", b"b%3a", b"c%2F", b"%c3%a9", b"", b"..x"]), min_size=1, max_size=5)


@given(_segments, st.integers(0, 4), st.sampled_from(["", "/api", "/api/v2"]))
def test_what_a_rewrite_makes_of_an_accepted_path_is_accepted(parts, stripped, prefix):
    raw = b"/" + b"/".join(parts)
    try:
        canonical = canonical_path(raw, keeps_encoded_slashes=True)
    except TargetRejected:
        return
    names = canonical.split("/")[1:]
    head = names[: min(stripped, len(names) - 1)]
    rewrite = Rewrite(strip="".join(f"/{name}" for name in head), prefix=prefix)
    found = canonical_path(rewrite_path(rewrite, raw), keeps_encoded_slashes=True)
    assert found == prefix + "/" + "/".join(names[len(head) :])


def test_a_routes_word_wins_over_its_tiers_and_that_over_the_settings():
    route = ForwardOptions(timeouts=ForwardTimeouts(first_byte_s=5, total_s=0), max_body_bytes=0)
    tier = ForwardOptions(timeouts=ForwardTimeouts(first_byte_s=300, connect_s=1), max_body_bytes=7)
    defaults = ForwardTimeouts(connect_s=5, first_byte_s=60, idle_s=61, total_s=9)
    assert effective_timeouts(route, tier, defaults) == ForwardTimeouts(
        connect_s=1, first_byte_s=5, idle_s=61, total_s=0
    )
    assert effective_max_body(route, tier, 100) == 0
    assert effective_max_body(NO_OPTIONS, tier, 100) == 7
    assert effective_max_body(None, None, 100) == 100


def test_who_says_nothing_about_time_outs_gets_the_settings_own_value():
    assert effective_timeouts(NO_OPTIONS, None, SETTINGS) is SETTINGS
    assert effective_timeouts(ForwardOptions(max_body_bytes=1), NO_OPTIONS, SETTINGS) is SETTINGS


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("api.example.com", "api.example.com"),
        ("API.Example.com:8443", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("api.example.com.:80", "api.example.com"),
        ("[::1]:8000", "[::1]"),
        ("[::1]", "[::1]"),
        ("", ""),
    ],
)
def test_a_host_is_known_by_its_name_alone(sent, name):
    assert host_name(sent) == name


def test_edits_are_made_in_order_and_leave_the_rest_as_it_was():
    headers = [b"A: 1", b"b:2", b"a: 3", b"c: 4"]
    edits = (
        HeaderEdit(action="remove", name=b"c"),
        HeaderEdit(action="set", name=b"a", value=b"5"),
        HeaderEdit(action="add", name=b"b", value=b"6"),
        HeaderEdit(action="add", name=b"d", value=b"7"),
    )
    assert edit_lines(headers, edits) == [b"b:2", b"a: 5", b"b: 6", b"d: 7"]
    assert len(headers) == 4


@pytest.mark.parametrize("name", sorted(forwarding.HOP_BY_HOP | {b"content-length"}))
def test_no_field_of_the_connection_can_be_changed(name):
    assert why_not_in_requests(name) is not None
    assert why_not_in_responses(name) is not None


@pytest.mark.parametrize(
    "name",
    [
        b"host", b"expect", b"via", b"forwarded", b"x-forwarded-for", b"x_forwarded_for", b"x-real-ip", b"x-tiergate",
        b"x-tiergate-tier", b"x_tiergate_tier", b"x-tiergate_tier", b"max-forwards", b"transfer_encoding",
        b"x-request-id", b"traceparent",
    ],
)  # fmt: skip
def test_no_field_by_which_an_upstream_knows_the_caller_can_be_changed(name):
    assert why_not_in_requests(name) is not None


@pytest.mark.parametrize("name", [b"authorization", b"x-api-key", b"accept-encoding", b"cookie", b"user-agent", b"x-a"])
def test_a_field_for_the_upstream_alone_can_be_changed(name):
    assert why_not_in_requests(name) is None


@pytest.mark.parametrize("name", [b"server", b"cache-control", b"x-powered-by", b"set-cookie", b"vary"])
def test_a_field_for_the_caller_can_be_changed(name):
    assert why_not_in_responses(name) is None


def test_the_value_of_a_field_is_in_no_representation():
    edit = HeaderEdit(action="set", name=b"authorization", value=b"Bearer hunter2")
    assert "hunter2" not in repr(ForwardOptions(request_headers=(edit,)))
