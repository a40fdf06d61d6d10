from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.session import PageSession, open_session, seal_session, session_secret

SECRET = session_secret("a-pepper-of-some-length-for-tests")
SESSION = PageSession(customer_id="8fK2mQ9xLpTa", key_id="0123456789ab", expires_at=2000)
SEALED = seal_session(SESSION, SECRET)


def test_a_session_reads_back_until_it_ends():
    assert open_session(SEALED, SECRET, 1999.9) == SESSION
    assert open_session(SEALED, SECRET, 2000) is None


def test_a_session_of_another_pepper_is_none():
    assert open_session(SEALED, session_secret("another-pepper-of-some-length"), 0) is None


@pytest.mark.parametrize("place", range(len(SEALED)))
def test_no_character_of_a_session_can_be_changed(place):
    changed = SEALED[:place] + ("x" if SEALED[place] != "x" else "y") + SEALED[place + 1 :]
    assert open_session(changed, SECRET, 0) is None


@given(st.text())
def test_whatever_else_a_browser_sends_is_no_session(text):
    assert open_session(text, SECRET, 0) is None


def test_the_secret_of_sessions_is_not_the_pepper():
    assert b"pepper" not in SECRET
    assert len(SECRET) == 32
