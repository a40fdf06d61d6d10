"""USE CASE: prove to an upstream who calls, so that it need not trust the network between us.

An assertion is signed once and sent with every call of the same key until half its life is
over, so that it costs a look-up a call. Any change to the account, the policy or the caller's
standing makes another. Without signing keys there is none.

Several keys: the first signs, all are published. That is how one is replaced without a call
that cannot be verified: docs/upstream.md, "Replace the signing key".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from cachetools import LRUCache
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.core.account import Account
from gateway.core.assertion import DEFAULT_AUDIENCE, LASTS_S, base64url, identity_claims, public_jwk, signing_input
from gateway.core.planned import Plan
from gateway.core.policy import Policy

ASSERTION_FIELD = b"x-tiergate-assertion"
"""Name of the field that carries an assertion to the upstream."""
_RENEWED_AFTER_S = LASTS_S // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    token: bytes
    signed_at: float


class Assertions:
    """Signs what upstreams are told, and publishes what they check it with.

    Args:
        seeds: Ed25519 seeds of 32 bytes; the first signs. Empty: no assertions.
        issuer: The gateway's public URL, for `iss`.
        audience: For `aud` of every assertion. None: the name of the upstream group that a call goes to.
        entries: Most assertions that are kept, about 1 KB each; one that was dropped is signed again.
    """

    def __init__(self, seeds: Iterable[bytes], *, issuer: str, audience: str | None, entries: int) -> None:
        keys = [Ed25519PrivateKey.from_private_bytes(seed) for seed in seeds]
        published = [public_jwk(key.public_key().public_bytes_raw()) for key in keys]
        self._key = keys[0] if keys else None
        self._header = {"alg": "EdDSA", "typ": "JWT", "kid": published[0]["kid"]} if published else {}
        self._issuer = issuer
        self._audience = audience
        self._signed: LRUCache[tuple[str | int | None, ...], _Signed] = LRUCache(entries)
        self.jwks: bytes = msgspec.json.encode({"keys": published})
        """The public keys as JSON Web Key Set (RFC 7517 section 5)."""

    def field_for(
        self, account: Account, plan: Plan, policy: Policy, now: float, *, group: str | None = None
    ) -> bytes | None:
        """The value of `ASSERTION_FIELD` for one admitted call; None: send no such field.

        Args:
            account: The caller's, as the decision saw it.
            plan: What was decided.
            policy: Under which policy.
            now: Unix seconds, of the decision.
            group: The upstream group that the call goes to; None: the one in the settings.
        """
        if self._key is None:
            return None
        access, audience = plan.access, self._audience or group or DEFAULT_AUDIENCE
        # Standing and tier too: a grace period ends without any change of the account.
        about = (
            account.customer_id, account.version, plan.key.key_id, policy.policy_hash,
            plan.tier.name, access.plan_id, access.standing, audience,
        )  # fmt: skip
        signed = self._signed.get(about)
        if signed is None or not 0 <= now - signed.signed_at < _RENEWED_AFTER_S:
            claims = identity_claims(account, plan, issuer=self._issuer, audience=audience, now=now)
            signed = self._signed[about] = _Signed(token=self._sign(self._key, claims), signed_at=now)
        return signed.token

    def _sign(self, key: Ed25519PrivateKey, claims: dict[str, object]) -> bytes:
        signed = signing_input(self._header, msgspec.json.encode(claims))
        return signed + b"." + base64url(key.sign(signed)).encode()
