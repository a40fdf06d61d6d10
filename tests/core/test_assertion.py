"""Keys and tokens as the standards write them."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.assertion import base64url, public_jwk, read_seed, signing_input

SEED = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
PUBLIC = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
"""Of RFC 8037, appendix A.3."""


def test_a_key_is_published_under_its_thumbprint():
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    jwk = public_jwk(public)
    assert (jwk["kty"], jwk["crv"], jwk["x"], jwk["kid"]) == ("OKP", "Ed25519", PUBLIC, THUMBPRINT)
    assert (jwk["alg"], jwk["use"]) == ("EdDSA", "sig")


def test_what_is_signed_is_what_the_standard_signs():
    signed = signing_input({"alg": "EdDSA"}, b"Example of Ed25519 signing")
    assert signed == b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"


def test_a_seed_is_read_from_what_the_command_line_prints():
    assert read_seed(SEED) == bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    assert len(read_seed(secrets.token_urlsafe(32))) == 32


@given(st.binary(min_size=32, max_size=32))
def test_every_seed_survives_its_spelling(seed):
    assert read_seed(base64url(seed)) == seed


@pytest.mark.parametrize(
    "text", ["", SEED[:-1], SEED + "=", SEED + "A", SEED[:-1] + "+", SEED[:-1] + "\n", "\u0660" * 43]
)
def test_what_is_no_seed_is_refused_and_not_repeated(text):
    with pytest.raises(ValueError, match="43 characters of base64url") as caught:
        read_seed(text)
    assert len(text) < 43 or text[:20] not in str(caught.value)
