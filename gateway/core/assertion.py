"""What an upstream is told about a caller in a form it can check: claims, and the keys they are signed with.

A compact JWS (RFC 7515) signed with Ed25519 (RFC 8037). The claims speak of who calls and of
nothing in the call itself, so one assertion serves all calls of a key for a while. It has no
`jti`: an upstream that took each assertion once would refuse the second call.

Instants are Unix seconds. Signing needs a library, and lives in `gateway.assertions`.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.core.account import Account
    from gateway.core.planned import Plan

LASTS_S = 60
"""How long an assertion is good for: how long a revoked key or a lost tier can still be shown to an upstream."""
SEED_BYTES = 32
DEFAULT_AUDIENCE = "upstream"
_SEED = re.compile(r"[A-Za-z0-9_-]{43}")


def identity_claims(account: Account, plan: Plan, *, issuer: str, audience: str, now: float) -> dict[str, object]:
    """Who calls, with which key, and what it may do; always the same members.

    Args:
        account: The caller's.
        plan: What was decided for it.
        issuer: The gateway's public URL.
        audience: Which upstream this is for; another has to refuse it.
        now: Unix seconds.
    """
    issued_at = int(now)
    return {
        "iss": issuer,
        "aud": audience,
        "sub": account.customer_id,
        "user": account.user_id,
        "tier": plan.tier.name,
        "plan": plan.access.plan_id,
        "key": plan.key.key_id,
        "features": sorted(plan.tier.features),
        "standing": plan.access.standing,
        "iat": issued_at,
        "exp": issued_at + LASTS_S,
    }


def read_seed(text: str) -> bytes:
    """The 32 bytes of a signing key, from base64url without padding: what `tiergate secret` prints.

    Raises:
        ValueError: It is not that. The message holds nothing of the text.
    """
    if _SEED.fullmatch(text) is None:
        raise ValueError(f"not 43 characters of base64url, which is what {SEED_BYTES} random bytes make")
    return urlsafe_b64decode(text + "=")


def public_jwk(public_key: bytes) -> dict[str, str]:
    """A public Ed25519 key (32 bytes) as JSON Web Key. Its `kid` is its thumbprint, so it needs no name of ours.

    Source: RFC 8037 section 2, RFC 7638 section 3.
    """
    x = base64url(public_key)
    required = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":"), sort_keys=True)
    kid = base64url(sha256(required.encode()).digest())
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig"}


def base64url(data: bytes) -> str:
    """Base64url without padding. Source: RFC 7515 section 2."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signing_input(header: dict[str, str], payload: bytes) -> bytes:
    """What is signed: header and payload as they travel. Source: RFC 7515 section 5.1."""
    head = json.dumps(header, separators=(",", ":")).encode()
    return f"{base64url(head)}.{base64url(payload)}".encode()
