"""From where a key may be used: a list of addresses and networks, kept as text.

An empty list allows every address. One that is not empty allows what one of its networks
holds, and never a call whose address is unknown. An IPv4 address that came in IPv6 clothes
(`::ffff:192.0.2.1`) is the IPv4 address.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

_EXAMPLES = "'203.0.113.7', '203.0.113.0/24' or '2001:db8::/32'"
_MAPPED = IPv6Network("::ffff:0:0/96")


class AllowInvalid(ValueError):
    """Not an address or network; the message says why and what to write instead."""


@lru_cache(maxsize=1024)
def parse_network(text: str) -> Network:
    """An address, which is a network of its own, or a network in CIDR notation.

    Raises:
        AllowInvalid: It is neither, or it could be meant in two ways.
    """
    shown = repr(text[:50])
    if "%" in text:
        raise AllowInvalid(f"{shown} names an interface; write the address alone")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise AllowInvalid(f"{shown} is not an IP address or network; write it like {_EXAMPLES}") from None
    prefix = text.partition("/")[2]
    if prefix and not (prefix.isascii() and prefix.isdigit()):
        raise AllowInvalid(f"{shown} has a netmask; write '{network_text(network)}'")
    if prefix and network.network_address != ip_address(text.partition("/")[0]):
        raise AllowInvalid(f"{shown} is an address inside a network; write '{network_text(network)}'")
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        raise AllowInvalid(f"{shown} is an IPv4 network in IPv6 clothes; write it like '203.0.113.0/24'")
    return network


def network_text(network: Network) -> str:
    """A network as it is kept and shown: an address alone has no prefix length."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


@lru_cache(maxsize=4096)
def allows(allow: tuple[str, ...], address: str | None) -> bool:
    """Whether a call from `address` may use a key with this list. Remembered: callers come back.

    Args:
        allow: As `parse_network` accepted it.
        address: The client's, without port; None if it is not known.
    """
    if not allow:
        return True
    found = _parse_address(address)
    return found is not None and any(found in network for network in _networks(allow))


def is_within(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    """Whether every address that `inner` allows is allowed by `outer` too."""
    if not outer:
        return True
    fours, sixes = _families(outer)
    # Neighbours joined: only so does one network hold whatever several hold together.
    four, six = tuple(collapse_addresses(fours)), tuple(collapse_addresses(sixes))
    inner_fours, inner_sixes = _families(inner)
    return (
        bool(inner)
        and all(any(network.subnet_of(one) for one in four) for network in inner_fours)
        and all(any(network.subnet_of(one) for one in six) for network in inner_sixes)
    )


def _families(allow: tuple[str, ...]) -> tuple[list[IPv4Network], list[IPv6Network]]:
    networks = _networks(allow)
    return (
        [network for network in networks if isinstance(network, IPv4Network)],
        [network for network in networks if isinstance(network, IPv6Network)],
    )


@lru_cache(maxsize=1024)
def _networks(allow: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(parse_network(text) for text in allow)


def _parse_address(text: str | None) -> IPv4Address | IPv6Address | None:
    if text is None:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped if mapped is not None else address
