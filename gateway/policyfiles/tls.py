"""`tls:` of a group of upstreams: what its servers' certificates are checked against, and our own.

The files are read and tried here, so that a wrong one is a fault in the policy and not a failing
upstream. A key's content is in no message.
"""

from __future__ import annotations

import ssl
from hashlib import sha256
from typing import TYPE_CHECKING

from gateway.core.upstream_policy import UpstreamTls
from gateway.policyfiles.attachments import read_attachment
from gateway.policyfiles.hosts import read_host_name
from gateway.policyfiles.shapes import as_fields, as_text

if TYPE_CHECKING:
    from gateway.policyfiles.document import Node, Text
    from gateway.policyfiles.faults import FaultLog

_KEYS = ("ca", "certificate", "key", "server_name")
_FILES = ("ca", "certificate", "key")
_NEVER = dict.fromkeys(
    ("verify", "insecure", "insecure_skip_verify", "skip_verify"),
    "an upstream's certificate is always verified: name the authority that signed it with 'ca'",
)
_CERTIFICATE, _PRIVATE_KEY, _ENCRYPTED = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----", b"ENCRYPTED"


def read_tls(node: Node, what: str, faults: FaultLog) -> UpstreamTls | None:
    """The mapping, with every file tried."""
    fields = as_fields(node, f"'tls' of {what}", faults, known=_KEYS, never=_NEVER)
    if not fields:
        return None
    texts = {name: as_text(fields[name], f"{name!r} in 'tls' of {what}", faults) for name in _FILES if name in fields}
    files: dict[str, tuple[str, bytes]] = {}
    for name, text in texts.items():
        found = None if text is None else read_attachment(text, f"the file of {name!r}", faults)
        if text is not None and found is not None and _is_kind(name, found[1], text, faults):
            files[name] = found
    if "key" in fields and "certificate" not in fields:
        faults.add(fields["key"].place, "a 'key' is nothing without its 'certificate'")
    if "ca" in files and texts["ca"] is not None:
        _try_authority(files["ca"][0], texts["ca"], faults)
    if "certificate" in files and texts["certificate"] is not None and ("key" in files or "key" not in fields):
        _try_certificate(files, texts["certificate"], faults)
    name_text = as_text(fields["server_name"], "'server_name'", faults) if "server_name" in fields else None
    return UpstreamTls(
        ca_file=files["ca"][0] if "ca" in files else None,
        certificate_file=files["certificate"][0] if "certificate" in files else None,
        key_file=files["key"][0] if "key" in files else None,
        digest=_digest(files),
        server_name=None if name_text is None else read_host_name(name_text, "'server_name'", faults),
    )


def _is_kind(name: str, content: bytes, text: Text, faults: FaultLog) -> bool:
    """Whether the file holds what its key says, as PEM."""
    if name == "key":
        if _PRIVATE_KEY not in content:
            faults.add(text.place, "the file of 'key' holds no private key in PEM ('-----BEGIN PRIVATE KEY-----')")
        elif _ENCRYPTED in content:
            faults.add(text.place, "the key has a passphrase, which nobody would be there to type: store it without")
        else:
            return True
        return False
    if _CERTIFICATE not in content:
        message = f"the file of {name!r} holds no certificate in PEM ('{_CERTIFICATE.decode()}')"
        faults.add(text.place, message)
        return False
    return True


def _try_authority(path: str, text: Text, faults: FaultLog) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError):
        faults.add(text.place, "the file of 'ca' cannot be read as certificates: it is damaged")


def _try_certificate(files: dict[str, tuple[str, bytes]], text: Text, faults: FaultLog) -> None:
    certificate, key = files["certificate"], files.get("key", files["certificate"])
    if _PRIVATE_KEY not in key[1]:
        faults.add(text.place, "the 'certificate' has no private key in its file: name it with 'key'")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate[0], key[0], password=_no_passphrase)
    except (ssl.SSLError, OSError, ValueError) as error:
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            faults.add(text.place, "the certificate and the key do not belong to each other")
        else:
            faults.add(text.place, "the certificate or its key cannot be read: one of them is damaged")


def _no_passphrase() -> str:
    """Asked for one, the library would stop and prompt on the terminal."""
    raise ValueError


def _digest(files: dict[str, tuple[str, bytes]]) -> str:
    if not files:
        return ""
    parts = (f"{name} {sha256(content).hexdigest()}" for name, (_, content) in sorted(files.items()))
    return sha256("\n".join(parts).encode()).hexdigest()[:12]
