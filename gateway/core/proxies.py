"""Proxies in front of the gateway, and who is behind them.

What X-Forwarded-For says is believed from configured proxies only. An address is always written in
one way: an IPv4 address that came in IPv6 clothes is itself.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_REMEMBERED = 4096


class TrustedProxies:
    """The proxies whose word on the caller is taken.

    Args:
        networks: Their addresses or networks.
    """

    __slots__ = ("_peers", "_trusted", "_verdicts")

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._trusted: tuple[IPv4Network | IPv6Network, ...] = tuple(map(ip_network, networks))
        self._verdicts: dict[str, bool] = {}
        self._peers: dict[str | None, tuple[bool, str | None]] = {}

    def known_peer(self, peer: str | None) -> tuple[bool, str | None]:
        """Whether the peer is a configured proxy, and its address as `client_address` writes it."""
        known = self._peers.get(peer)
        if known is None:
            known = (self.is_trusted(peer), _plain_address(peer) if peer is not None else None)
            if len(self._peers) >= _MAX_REMEMBERED:
                self._peers.clear()
            self._peers[peer] = known
        return known

    def client_address(self, headers: Iterable[tuple[bytes, bytes]], peer: str | None) -> str | None:
        """Who sent the request: the first address from the right that is not one of our proxies.

        What stands left of it is the caller's own claim. An entry that is not an address ends
        the walk: the proxy that passed it on is the last one known.
        """
        if peer is None or not self.is_trusted(peer):
            return _plain_address(peer) if peer is not None else None
        claimed = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        address = _plain_address(peer)
        for entry in reversed(claimed.decode("latin-1").split(",")):
            found = _parse_address(entry.strip())
            if found is None:
                break
            address = found
            if not self.is_trusted(found):
                break
        return address

    def is_trusted(self, peer: str | None) -> bool:
        """Whether the peer is a configured proxy, whose word on the caller is taken."""
        if not self._trusted or peer is None:
            return False
        verdict = self._verdicts.get(peer)
        if verdict is None:
            verdict = self._judge(peer)
            if len(self._verdicts) < _MAX_REMEMBERED:
                self._verdicts[peer] = verdict
        return verdict

    def _judge(self, peer: str) -> bool:
        try:
            address = ip_address(_plain_address(peer))
        except ValueError:
            return False
        return any(address in network for network in self._trusted)


def _plain_address(text: str) -> str:
    """An IPv4 address that came in IPv6 clothes, as itself; everything else unchanged."""
    if not text.lower().startswith("::ffff:"):
        return text
    try:
        address = ip_address(text)
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped) if mapped is not None else text


def _parse_address(entry: str) -> str | None:
    """The address in one X-Forwarded-For entry, with a port or without."""
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    try:
        return _plain_address(str(ip_address(entry)))
    except ValueError:
        return None
