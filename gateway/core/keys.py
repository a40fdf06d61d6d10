"""API keys: their text, their checksum and their digest.

    tg_live_8fK2mQ9xLpTa_5XrW...26 characters...Tn0b2Hq
    |  |    |            |                      |
    |  mode customer id  secret (154 bits)      checksum (6 characters, 35 bits)
    product

The text carries the customer id, so every cache key of a request is known before any I/O.
The checksum is an HMAC under the pepper: text that we did not mint is refused by
arithmetic alone and never reaches the cache or the ledger. Only the digest is stored.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from gateway.core.errors import InvalidKey

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CUSTOMER_ID_LENGTH = 12
SECRET_LENGTH = 26
CHECKSUM_LENGTH = 6
_PREFIX_LENGTH = len("tg_live_")
_SEPARATOR = _PREFIX_LENGTH + CUSTOMER_ID_LENGTH
KEY_LENGTH = _SEPARATOR + 1 + SECRET_LENGTH + CHECKSUM_LENGTH
_NOT_IN_KEYS = bytes(set(range(256)) - set(ALPHABET.encode()))


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedKey:
    """What a well-formed key says about itself. Whether it is live, the cache decides."""

    customer_id: str
    digest: str
    """HMAC-SHA256 of the whole text under the pepper, 64 hex digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MintedKey:
    """A new key. `text` is shown once and kept nowhere."""

    text: str
    digest: str
    last4: str


class KeyCodec:
    """Writes and reads key texts of one mode under one pepper.

    Args:
        pepper: At least 32 bytes that never leave the process's settings. A new pepper
            makes every key issued before unreadable.
        mode: `live` or `test`; keys of the other mode are refused.
    """

    def __init__(self, pepper: bytes, mode: str) -> None:
        self._pepper = pepper
        self._check_pepper = hmac.digest(pepper, b"tiergate key checksum", "sha256")
        self._prefix = f"tg_{mode}_"
        self.mode = mode

    def mint(self, customer_id: str, secret: str) -> MintedKey:
        """A key for `customer_id` with a fresh random `secret` of `SECRET_LENGTH` characters of `ALPHABET`."""
        if len(customer_id) != CUSTOMER_ID_LENGTH or len(secret) != SECRET_LENGTH:
            raise ValueError("a customer id has 12 characters and a key's secret 26")
        stem = f"{self._prefix}{customer_id}_{secret}"
        text = stem + self._checksum(stem.encode())
        return MintedKey(text=text, digest=self.digest(text.encode()), last4=text[-4:])

    def parse(self, presented: bytes) -> PresentedKey:
        """Read the bytes a caller sent as its key. Does no I/O and takes constant time on the checksum.

        Raises:
            InvalidKey: Not a key of this gateway and mode.
        """
        if (
            len(presented) != KEY_LENGTH
            or not presented.startswith(self._prefix.encode())
            or presented[_SEPARATOR] != ord("_")
        ):
            raise InvalidKey
        customer_id = presented[_PREFIX_LENGTH:_SEPARATOR]
        tail = presented[_SEPARATOR + 1 :]
        if (customer_id + tail).translate(None, _NOT_IN_KEYS) != customer_id + tail:
            raise InvalidKey
        stem = presented[:-CHECKSUM_LENGTH]
        if not hmac.compare_digest(self._checksum(stem).encode(), presented[-CHECKSUM_LENGTH:]):
            raise InvalidKey
        return PresentedKey(customer_id=customer_id.decode(), digest=self.digest(presented))

    def digest(self, text: bytes) -> str:
        """The only form of a key that is ever stored."""
        return hmac.digest(self._pepper, text, "sha256").hex()

    def claim_digest(self, secret: str) -> str:
        """Digest of a checkout's claim secret, domain-separated from keys."""
        return hmac.digest(self._pepper, b"claim:" + secret.encode(), "sha256").hex()

    def _checksum(self, stem: bytes) -> str:
        number = int.from_bytes(hmac.digest(self._check_pepper, stem, "sha256")[:8], "big")
        letters = []
        for _ in range(CHECKSUM_LENGTH):
            number, digit = divmod(number, len(ALPHABET))
            letters.append(ALPHABET[digit])
        return "".join(letters)
