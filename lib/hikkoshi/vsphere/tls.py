"""Two ways to know that a server is the right one: a certificate authority, or its certificate's own fingerprint.

pyVmomi's `thumbprint=` is not used: it looks at the first connection only, and accepts a wrong one where the context does
not verify. Nor is a context ever left out: for loopback names pyVmomi would then not verify at all.
"""

import hashlib
import re
import socket
import ssl
from pathlib import Path
from typing import Any, NoReturn

from hikkoshi.errors import BadInput, Problem

_ALGORITHMS = {40: "sha1", 64: "sha256"}  # {length of the fingerprint in hexadecimal: algorithm}


class PinnedContext(ssl.SSLContext):
    """A TLS context that accepts exactly one certificate, and looks at it on every connection.

    `fingerprint` is SHA-256, or the SHA-1 that vCenter gives for its hosts, in hexadecimal with or without colons; ValueError
    where it is neither.
    """

    def __new__(cls, fingerprint: str) -> "PinnedContext":
        """An SSLContext takes its protocol here."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, fingerprint: str) -> None:
        self.check_hostname = False
        self.verify_mode = ssl.CERT_NONE
        self.pin = fingerprint.replace(":", "").lower()
        if not re.fullmatch(r"[0-9a-f]+", self.pin) or len(self.pin) not in _ALGORITHMS:
            raise ValueError(f"{fingerprint!r} is no SHA-1 or SHA-256 fingerprint in hexadecimal")
        self.algorithm = _ALGORITHMS[len(self.pin)]

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """Connect, then compare the certificate before a byte is sent."""
        wrapped = super().wrap_socket(*args, **kwargs)
        seen = hashlib.new(self.algorithm, wrapped.getpeercert(True) or b"", usedforsecurity=False).hexdigest()
        if seen != self.pin:
            wrapped.close()
            raise ssl.SSLCertVerificationError(1, f"its {self.algorithm} fingerprint is {seen}")
        return wrapped

    def wrap_bio(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: there the handshake comes later, and the pin could not be checked."""
        raise NotImplementedError("a pinned context works on sockets only")


def shown(host: str, port: int, timeout: float = 20) -> str:
    """SHA-256 fingerprint of the certificate that a server shows to anybody, AB:CD:…; `OSError` where it cannot be reached.

    It proves nothing: a person compares it with what the server's own console tells.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((host, port), timeout) as plain, context.wrap_socket(plain, server_hostname=host) as wrapped:
        return hashlib.sha256(wrapped.getpeercert(True) or b"").digest().hex(":").upper()


def ca_context(ca: Path) -> ssl.SSLContext:
    """A context that accepts what this certificate authority signed, for the right host name."""
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as e:
        raise BadInput(
            Problem(
                code="ca-file-unusable",
                what="the certificate authority's file cannot be used",
                where=str(ca),
                found=str(e),
                expected="a file with certificates in PEM form",
                remedy="correct `ca` in params/site.yml (for the lab: hikkoshi lab up)",
            )
        ) from None
