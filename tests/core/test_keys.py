"""API keys: text, checksum, digest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidKey
from gateway.core.keys import ALPHABET, CUSTOMER_ID_LENGTH, KEY_LENGTH, SECRET_LENGTH, KeyCodec

PEPPER = b"a pepper of at least thirty-two bytes"
CUSTOMER = "8fK2mQ9xLpTa"
SECRET = "0123456789ABCDEFGHIJKLMNOP"
CODEC = KeyCodec(PEPPER, "test")

letters = st.sampled_from(ALPHABET)
customer_ids = st.text(letters, min_size=CUSTOMER_ID_LENGTH, max_size=CUSTOMER_ID_LENGTH)
secrets = st.text(letters, min_size=SECRET_LENGTH, max_size=SECRET_LENGTH)


@given(customer_ids, secrets)
def test_a_minted_key_is_read_back_as_its_customer_and_digest(customer_id, secret):
    minted = CODEC.mint(customer_id, secret)
    presented = CODEC.parse(minted.text.encode())
    assert (presented.customer_id, presented.digest) == (customer_id, minted.digest)
    assert len(minted.text) == KEY_LENGTH
    assert minted.text.startswith("tg_test_")
    assert minted.text.endswith(minted.last4)


@given(st.integers(0, KEY_LENGTH - 1), letters)
def test_a_key_with_one_changed_character_is_refused(position, letter):
    text = CODEC.mint(CUSTOMER, SECRET).text
    changed = text[:position] + letter + text[position + 1 :]
    if changed != text:
        with pytest.raises(InvalidKey):
            CODEC.parse(changed.encode())


@given(st.binary(max_size=80))
def test_garbage_is_refused_and_never_crashes(garbage):
    with pytest.raises(InvalidKey):
        CODEC.parse(garbage)


def test_a_key_of_the_other_mode_is_refused():
    live = KeyCodec(PEPPER, "live").mint(CUSTOMER, SECRET)
    with pytest.raises(InvalidKey):
        CODEC.parse(live.text.encode())


def test_a_key_made_under_another_pepper_is_refused_without_a_lookup():
    forged = KeyCodec(b"another pepper, just as long as that", "test").mint(CUSTOMER, SECRET)
    with pytest.raises(InvalidKey):
        CODEC.parse(forged.text.encode())


def test_the_digest_depends_on_the_pepper_and_hides_the_text():
    text = CODEC.mint(CUSTOMER, SECRET).text.encode()
    other = KeyCodec(b"another pepper, just as long as that", "test")
    assert CODEC.digest(text) != other.digest(text)
    assert text.decode() not in CODEC.digest(text)
    assert len(CODEC.digest(text)) == 64


def test_a_claim_digest_is_never_a_key_digest():
    assert CODEC.claim_digest("abc") != CODEC.digest(b"abc")
    assert CODEC.claim_digest("abc") == CODEC.claim_digest("abc")


@pytest.mark.parametrize(("customer_id", "secret"), [("short", SECRET), (CUSTOMER, "short")])
def test_minting_needs_an_id_and_a_secret_of_full_length(customer_id, secret):
    with pytest.raises(ValueError, match="12 characters"):
        CODEC.mint(customer_id, secret)
