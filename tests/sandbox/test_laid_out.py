"""What is sent is laid out as Stripe does it, to the byte what the standard library makes of it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.wire.laid_out import laid_out

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_BODIES = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(_BODIES)
def test_a_body_is_laid_out_with_two_spaces_a_level_in_ascii(body: object) -> None:
    assert laid_out(body) == json.dumps(body, indent=2).encode()


def test_nothing_within_is_written_without_a_break() -> None:
    assert laid_out({"a": [], "b": {}, "c": [1]}) == b'{\n  "a": [],\n  "b": {},\n  "c": [\n    1\n  ]\n}'
