"""The upload of a disk through an import lease (HttpNfcLease), and the proof that the same bytes arrived.

There is no resuming: after any failure the lease is given up, and what it made removed.
"""

import contextlib
import hashlib
import http.client
import re
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pyVmomi import vim, vmodl

from hikkoshi import files
from hikkoshi.errors import HikkoshiError, Problem, StepFailed, VSphereError
from hikkoshi.progress import Progress, silent
from hikkoshi.vsphere import tls
from hikkoshi.vsphere.session import RAISED, Session, advice, describe

CHUNK = 1 << 20
KEEPALIVE = 10.0  # seconds between signs of life; a lease's time-out is usually 300
RETRY = "nothing half-made is left in use; run the step again, which starts the upload anew"
_SHORTEST = 3.0  # seconds that a lease lasts
TYPE = "application/x-vnd.vmware-streamVmdk"


@dataclass(frozen=True)
class Sent:
    """What went over the wire: bytes, and their hashes in hexadecimal."""

    bytes: int
    sha1: str
    sha256: str
    seconds: float


class Lease:
    """An import lease; a context manager that gives the lease up when the work within fails."""

    def __init__(self, v: Session, thing: Any) -> None:
        self._v, self._thing = v, thing
        self._percent = 0
        self._error: BaseException | None = None  # set by the thread that keeps the lease alive
        self._stop = threading.Event()
        self._completed = False
        self.machine: Any = None  # the virtual machine that is being made
        self.urls: list[Any] = []
        self._timeout = 300.0

    def __enter__(self) -> "Lease":
        self._keeper = threading.Thread(target=self._keep_alive, name="nfc-lease", daemon=True)
        try:
            self._wait_ready()
        except BaseException:
            self._abort()
            raise
        self._keeper.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._stop.set()
        self._keeper.join(self._v.timeout)
        if not self._completed:
            self._abort()

    def url(self, import_key: str) -> Any:
        """The device URL for one file of the import."""
        for url in self.urls:
            if url.importKey == import_key:
                return url
        raise VSphereError(
            Problem(
                code="upload-address-missing",
                what="vSphere gave no address to send the disk to",
                where=self._v.where,
                found=", ".join(u.importKey for u in self.urls) or "no address at all",
                expected=import_key,
                remedy=RETRY,
            )
        )

    def alive(self) -> None:
        """`VSphereError` where the lease can no longer be kept alive."""
        if self._error is not None:
            raise self._lost(self._error) from self._error

    def _lost(self, error: BaseException) -> VSphereError:
        what, found = "the import lease was lost", describe(error)
        return VSphereError(Problem(code="import-lease-lost", what=what, where=self._v.where, found=found, remedy=RETRY))

    def told(self, done: int, total: int) -> None:
        """How far the upload is; told to vSphere with the next sign of life."""
        self._percent = min(99, done * 100 // max(1, total))

    def state(self) -> str:
        """State and error of the lease, for messages; never raises."""
        try:
            p = self._v.read(self._thing, "state", "error")
        except HikkoshiError as e:
            return e.problems[0].found
        return f"lease {p.get('state', 'unknown')}" + (f", {describe(p['error'])}" if p.get("error") else "")

    def manifest(self) -> list[Any]:
        """What vSphere received: entries with key, sha1, size."""
        with self._v.asking("tell what it received", RETRY):
            return list(self._thing.HttpNfcLeaseGetManifest() or ())

    def complete(self) -> None:
        """End the import; the machine is vSphere's from here on."""
        self._stop.set()
        self._keeper.join(self._v.timeout)
        self.alive()
        with self._v.asking("complete the import", RETRY):
            self._thing.HttpNfcLeaseComplete()
        self._completed = True

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + max(300, self._v.timeout)
        while True:
            try:
                p = self._v.read(self._thing, "state", "error", "info")
            except VSphereError as e:
                if isinstance(e.__cause__, vmodl.fault.ManagedObjectNotFound):  # it ended with its session
                    raise self._lost(e.__cause__) from e.__cause__
                raise
            state = str(p.get("state", ""))
            if state == "ready":
                with self._v.asking("tell where the disk goes to", RETRY):
                    info = p["info"]
                    self.machine, self.urls = info.entity, list(info.deviceUrl or ())
                    self._timeout = max(_SHORTEST, float(info.leaseTimeout or 300))
                return
            if state == "error" or time.monotonic() > deadline:
                error = p.get("error")
                remedy = advice(error) if error else RETRY
                if isinstance(error, vim.fault.FileAlreadyExists | vim.fault.DuplicateName):
                    remedy = "files or a machine of this name are there already; choose another name, or remove them"
                raise VSphereError(
                    Problem(
                        code="import-not-begun",
                        what="vSphere did not begin the import",
                        where=self._v.where,
                        found=describe(error) if error else f"lease {state} for too long",
                        expected="a lease that is ready",
                        remedy=remedy,
                    )
                )
            time.sleep(0.1)

    def _keep_alive(self) -> None:
        while not self._stop.wait(min(self._timeout / 3, KEEPALIVE)):
            try:
                self._thing.HttpNfcLeaseProgress(self._percent)
            except RAISED as e:
                self._error = e
                return

    def _abort(self) -> None:
        # where the server is gone, or has forgotten the lease, there is nothing to give up
        with contextlib.suppress(*RAISED):
            self._thing.HttpNfcLeaseAbort()


class Upload:
    """A disk on its way to a device URL of the lease, hashed as it goes; a context manager, whole when it ends well.

    With `size` in bytes the length is announced. Without it the body goes in chunks (RFC 9112 §7.1), for a stream whose
    length nobody knows before its end; VMware's own Ruby library uploads like this (rbvmomi 0018bcc, `deployOVF`).
    """

    def __init__(self, v: Session, lease: Lease, target: Any, size: int | None = None) -> None:
        self._v, self._lease, self._target, self._size = v, lease, target, size
        host, port = address_of(target.url, v.host, v.port)
        self._where = f"{host}:{port}"
        self._connection = http.client.HTTPSConnection(host, port, context=context_for(v, host, port, target), timeout=v.timeout)
        self._sha1, self._sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
        self._start = time.monotonic()
        self.bytes = 0

    def __enter__(self) -> Self:
        address = urlsplit(self._target.url)
        try:
            with self._telling():
                self._connection.putrequest("POST", address.path + (f"?{address.query}" if address.query else ""))
                self._connection.putheader("Content-Type", TYPE)
                length = ("Transfer-Encoding", "chunked") if self._size is None else ("Content-Length", str(self._size))
                self._connection.putheader(*length)
                self._connection.endheaders()
        except BaseException:
            self._connection.close()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._end()
        finally:
            self._connection.close()

    def put(self, data: bytes | memoryview) -> None:
        """Send the next bytes."""
        self._lease.alive()
        with self._telling():
            if self._size is None:
                self._connection.send(b"%x\r\n" % len(data))
            self._connection.send(data)
            if self._size is None:
                self._connection.send(b"\r\n")
        self._sha1.update(data)
        self._sha256.update(data)
        self.bytes += len(data)

    @property
    def sent(self) -> Sent:
        """What has gone so far, and since when."""
        return Sent(self.bytes, self._sha1.hexdigest(), self._sha256.hexdigest(), time.monotonic() - self._start)

    def _end(self) -> None:
        """The end of the body, and what the server says to it."""
        with self._telling():
            if self._size is None:
                self._connection.send(b"0\r\n\r\n")
            if self._connection.sock:
                self._connection.sock.settimeout(5 * self._v.timeout)  # the server may still be writing
            answer = self._connection.getresponse()
            answer.read(1 << 16)
        if answer.status not in (200, 201):
            said, remedy = _said(answer)
            raise VSphereError(
                Problem(
                    code="upload-refused",
                    what="the upload was refused",
                    where=self._where,
                    found=f"{said}; {self._lease.state()}",
                    expected="HTTP status 200 or 201",
                    remedy=remedy,
                )
            )
        self._lease.alive()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell the true reason where the connection, often one to an ESXi host and not to vCenter, breaks."""
        try:
            yield
        except ssl.SSLCertVerificationError as e:
            raise VSphereError(
                Problem(
                    code="upload-certificate-differs",
                    what="the host that the disk goes to has another certificate than expected",
                    where=self._where,
                    found=str(e),
                    expected=self._target.sslThumbprint or "the one of the vSphere server",
                    remedy="make sure that nobody stands between; renew the host's certificate in vCenter, then run "
                    "the step again",
                )
            ) from e
        except (OSError, http.client.HTTPException) as e:
            said, remedy = early_answer(self._connection)
            raise VSphereError(
                Problem(
                    code="upload-cut-off",
                    what="the upload was cut off",
                    where=self._where,
                    found="; ".join(filter(None, (describe(e), said, self._lease.state()))),
                    expected="all bytes taken",
                    remedy=remedy,
                )
            ) from e


def upload(
    v: Session, lease: Lease, target: Any, path: Path, progress: Progress = silent, *, before: int = 0, whole: int = 0
) -> Sent:
    """Send a file to a device URL of the lease, hashing it on the way; `before` bytes of `whole` have gone already."""
    size, start = path.stat().st_size, time.monotonic()
    whole = whole or size
    with Upload(v, lease, target, size) as up, path.open("rb") as f:
        while up.bytes < size and (chunk := f.read(min(CHUNK, size - up.bytes))):
            up.put(chunk)
            lease.told(before + up.bytes, whole)
            progress(before + up.bytes, whole, f"{files.human(up.bytes / max(0.001, time.monotonic() - start))}/s")
        if up.bytes != size:
            raise StepFailed(
                Problem(
                    code="upload-disk-shorter",
                    what="the disk became shorter while it was sent",
                    where=str(path),
                    found=f"{up.bytes:,} bytes",
                    expected=f"{size:,}",
                    remedy=RETRY,
                )
            )
    return up.sent


def address_of(url: str, host: str, port: int) -> tuple[str, int]:
    """Where an upload URL points. `*` is what ESXi says for itself: then the host and the port of our session count.

    `VSphereError` for what is no https address of a host.
    """
    try:
        split = urlsplit(url or "")
        there = host if split.hostname == "*" else split.hostname
        at = port if split.hostname == "*" else split.port or 443
        whole = split.scheme == "https" and there and "@" not in split.netloc and re.fullmatch(r"[!-~]+", url)
    except ValueError:  # a port that is no number, half an IPv6 address
        whole = None
    if not whole:
        raise VSphereError(
            Problem(
                code="upload-address-malformed",
                what="vSphere gave an address that no disk can be sent to",
                where=f"{host}:{port}",
                found=repr(url),
                expected="https://HOST/PATH, or https://*/PATH for the server itself",
                remedy="look at the host's name in vSphere, and at its address there; " + RETRY,
            )
        )
    return str(there), at


def context_for(v: Session, host: str, port: int, target: Any) -> ssl.SSLContext:
    """How the upload host is known: by the fingerprint that the server gives for it, else like the server itself.

    `VSphereError` for a fingerprint that is none.
    """
    thumbprint = getattr(target, "sslThumbprint", None)
    if not thumbprint or (host, port) == (v.host, v.port):
        return v.context
    try:
        return tls.PinnedContext(thumbprint)
    except ValueError as e:
        raise VSphereError(
            Problem(
                code="upload-fingerprint-unusable",
                what="vSphere gave no usable fingerprint of the host that the disk goes to",
                where=f"{host}:{port}",
                found=str(e),
                expected="40 or 64 hexadecimal digits",
                remedy="disconnect the host in vCenter and connect it again, which reads its certificate anew; " + RETRY,
            )
        ) from None


def early_answer(connection: http.client.HTTPSConnection) -> tuple[str, str]:
    """What a server says that refuses an upload before the body is through, and what to do; sending fails without saying why."""
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        if connection.sock:
            connection.sock.settimeout(2)
            return _said(connection.getresponse())
    return "", RETRY


def _said(answer: http.client.HTTPResponse) -> tuple[str, str]:
    room = "make room on the datastore; " if answer.status == 507 else ""
    return f"HTTP status {answer.status} {answer.reason}", room + RETRY


def check_manifest(entries: list[Any], target: Any, sent: Sent) -> str:
    """Compare what vSphere received with what was sent; a sentence for the record, `StepFailed` where they differ.

    Some servers return no entry: then nothing is known, and that is what the sentence says.
    """
    entries = [e for e in entries if e is not None]
    mine = [e for e in entries if e.key == target.key] or (entries if len(entries) == 1 else [])
    if not mine:
        return "the server keeps no manifest: what arrived is unknown"
    entry, differences = mine[0], []
    known = {"sha1": sent.sha1, "sha256": sent.sha256}
    told = {"sha1": entry.sha1 or ""}
    kind = str(getattr(entry, "checksumType", None) or "").lower()
    if kind in known and getattr(entry, "checksum", None):
        told[kind] = entry.checksum
    for algorithm, value in told.items():
        if value and value.lower() != known[algorithm]:
            differences.append(f"{algorithm} {value} instead of {known[algorithm]}")
    if entry.size is not None and entry.size != sent.bytes:
        differences.append(f"{entry.size:,} bytes instead of {sent.bytes:,}")
    if differences:
        raise StepFailed(
            Problem(
                code="upload-bytes-differ",
                what="vSphere received other bytes than were sent",
                where="import lease",
                found="; ".join(differences),
                expected="the same bytes",
                remedy="something between here and the host changes data: check its memory and network; " + RETRY,
            )
        )
    return f"manifest agrees: {', '.join(k for k, x in told.items() if x) or 'size'}, {sent.bytes:,} bytes"
