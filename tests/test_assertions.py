"""Assertions as an upstream checks them: by a verifier of its own, with nothing but what is published."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.assertions import Assertions
from gateway.core.access_value import Access
from gateway.core.account import Account, KeyRecord
from gateway.core.assertion import base64url
from gateway.core.lifecycle import LIFECYCLE_ROWS
from gateway.core.planned import Plan
from gateway.core.policy import Policy, Standing, Tier
from gateway.core.route import Route

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
NOW = 1_800_000_000.75
TIER = Tier(name="pro", rank=1, title="", description="", limits=(), features=frozenset({"exports", "batch", "ai"}))
KEY = KeyRecord(key_id="k1", name="n", last4="abcd", created_at=1)
ACCOUNT = Account(customer_id="AbCdEfGhIjKl", user_id="Zoë@example.com", version=7, created_at=1)
POLICY = Policy(
    policy_hash="0" * 12,
    default_tier="pro",
    tiers={"pro": TIER},
    plans={},
    meters={},
    routes=(),
    lifecycle=dict.fromkeys(LIFECYCLE_ROWS, Standing(keep_s=0, then="pro", refusal="subscription-required")),
)


def plan(**changes) -> Plan:
    facts = {
        "access": Access(tier=TIER, standing="good", plan_id="pro-monthly"),
        "tier": TIER,
        "key": KEY,
        "route": Route(pattern="* /**", methods=None, segments=("**",)),
        "limits": (),
    }
    return Plan(**(facts | changes))


def assertions(*seeds: bytes, audience: str | None = None, entries: int = 100) -> Assertions:
    return Assertions(seeds or (OLD,), issuer="https://api.example.com", audience=audience, entries=entries)


def decode(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def verify(token: bytes, jwks: bytes) -> dict[str, object]:
    """The claims, checked as RFC 7515 section 5.2 says."""
    head, payload, signature = token.decode().split(".")
    header = json.loads(decode(head))
    assert header["alg"] == "EdDSA"
    [jwk] = [key for key in json.loads(jwks)["keys"] if key["kid"] == header["kid"]]
    Ed25519PublicKey.from_public_bytes(decode(jwk["x"])).verify(decode(signature), f"{head}.{payload}".encode())
    claims: dict[str, object] = json.loads(decode(payload))
    return claims


def test_an_assertion_says_who_calls_and_what_it_may():
    signer = assertions()
    token = signer.field_for(ACCOUNT, plan(), POLICY, NOW)
    assert verify(token, signer.jwks) == {
        "iss": "https://api.example.com",
        "aud": "upstream",
        "sub": "AbCdEfGhIjKl",
        "user": "Zoë@example.com",
        "tier": "pro",
        "plan": "pro-monthly",
        "key": "k1",
        "features": ["ai", "batch", "exports"],
        "standing": "good",
        "iat": 1_800_000_000,
        "exp": 1_800_000_060,
    }


def test_an_assertion_fits_a_header_field():
    token = assertions().field_for(ACCOUNT, plan(), POLICY, NOW)
    assert not token.translate(None, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert len(token) < 700


def test_an_assertion_for_one_upstream_is_none_for_another():
    signer = assertions()
    tokens = {signer.field_for(ACCOUNT, plan(), POLICY, NOW, group=group) for group in (None, "billing", "search")}
    assert {verify(token, signer.jwks)["aud"] for token in tokens} == {"upstream", "billing", "search"}
    named = assertions(audience="my-api")
    assert verify(named.field_for(ACCOUNT, plan(), POLICY, NOW, group="billing"), named.jwks)["aud"] == "my-api"


def test_a_changed_assertion_is_refused():
    signer = assertions()
    head, payload, signature = signer.field_for(ACCOUNT, plan(), POLICY, NOW).split(b".")
    claims = json.loads(decode(payload.decode())) | {"tier": "enterprise"}
    forged = base64url(json.dumps(claims).encode()).encode()
    for token in (b".".join((head, forged, signature)), b".".join((head, payload, signature[:-2] + b"AA"))):
        with pytest.raises(InvalidSignature):
            verify(token, signer.jwks)


def test_an_assertion_is_signed_once_and_again_after_half_its_life():
    signer = assertions()
    first = signer.field_for(ACCOUNT, plan(), POLICY, NOW)
    assert signer.field_for(ACCOUNT, plan(), POLICY, NOW + 29) is first
    second = signer.field_for(ACCOUNT, plan(), POLICY, NOW + 30)
    assert verify(second, signer.jwks)["iat"] == 1_800_000_030
    assert signer.field_for(ACCOUNT, plan(), POLICY, NOW + 31) is second


def test_a_clock_that_was_set_back_sends_no_assertion_of_the_future():
    signer = assertions()
    signer.field_for(ACCOUNT, plan(), POLICY, NOW)
    assert verify(signer.field_for(ACCOUNT, plan(), POLICY, NOW - 100), signer.jwks)["iat"] == 1_799_999_900


def test_whatever_changes_is_in_the_next_assertion():
    signer = assertions()
    before = signer.field_for(ACCOUNT, plan(), POLICY, NOW)
    grace = Access(tier=TIER, standing="grace", plan_id="pro-monthly")
    other = replace(TIER, name="free", features=frozenset())
    for account, planned, policy, claim in (
        (replace(ACCOUNT, version=8, user_id="zoe"), plan(), POLICY, ("user", "zoe")),
        (ACCOUNT, plan(key=replace(KEY, key_id="k2")), POLICY, ("key", "k2")),
        (ACCOUNT, plan(access=grace), POLICY, ("standing", "grace")),
        (ACCOUNT, plan(tier=other), replace(POLICY, policy_hash="1" * 12), ("features", [])),
        (ACCOUNT, plan(access=replace(grace, plan_id=None)), POLICY, ("plan", None)),
    ):
        token = signer.field_for(account, planned, policy, NOW)
        assert token is not before
        assert verify(token, signer.jwks)[claim[0]] == claim[1]


def test_the_first_key_signs_and_all_verify():
    before, meanwhile, after = assertions(OLD), assertions(NEW, OLD), assertions(NEW)
    signed_before = before.field_for(ACCOUNT, plan(), POLICY, NOW)
    signed_after = meanwhile.field_for(ACCOUNT, plan(), POLICY, NOW)
    assert (
        verify(signed_before, meanwhile.jwks)
        == verify(signed_after, meanwhile.jwks)
        == verify(signed_after, after.jwks)
    )
    with pytest.raises(ValueError, match="not enough values"):
        verify(signed_before, after.jwks)


def test_without_a_key_there_is_no_assertion_and_nothing_is_published():
    signer = Assertions((), issuer="https://api.example.com", audience=None, entries=100)
    assert signer.field_for(ACCOUNT, plan(), POLICY, NOW) is None
    assert signer.jwks == b'{"keys":[]}'


def test_no_more_assertions_are_kept_than_there_is_room_for():
    signer = assertions(entries=10)
    for version in range(50):
        signer.field_for(replace(ACCOUNT, version=version), plan(), POLICY, NOW)
    assert len(signer._signed) == 10


def test_a_key_is_known_by_the_thumbprint_of_the_standard():
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    [key] = json.loads(assertions(seed).jwks)["keys"]
    assert key["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"  # RFC 8037, appendix A.3
