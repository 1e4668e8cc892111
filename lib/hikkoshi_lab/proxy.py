"""A proxy between us and the lab's vCenter that keeps what is uploaded, and breaks things on request.

The simulator seldom fails; with this in front, tests see everything that can go wrong on the way, and each upload as a host
would have received it, also one that was refused.
"""

import contextlib
import http.client
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from hikkoshi_lab import certificate
from hikkoshi_lab.vcsim import Server

CHUNK = 1 << 16
FAULT = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault>
<faultcode>ServerFaultCode</faultcode><faultstring>{text}</faultstring><detail>
<{name}Fault xmlns="urn:vim25" xsi:type="{name}">{fields}</{name}Fault>
</detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>"""


@dataclass
class Fault:
    """A SOAP fault instead of the next `times` calls of a method: type name as in the API, its fields as XML."""

    name: str
    text: str = "made by the lab"
    fields: str = ""
    times: int = 1


Trouble = Fault | int | Literal["dropped", "late"]  # int: an HTTP status; late: the server has done it, and its answer comes late
UPLOAD, GET = "upload", "GET"  # what is asked of the two that are no SOAP methods


@dataclass
class Faults:
    """What is to go wrong; all of it can be changed while the proxy runs. Offsets and counts are in bytes of an upload."""

    ask: Callable[[str, int], Trouble | None] = lambda method, sent: None  # before each call, and each piece of an upload
    delay: float = 3.0  # seconds by which an answer is late
    soap: dict[str, Fault] = field(default_factory=dict)  # {method: fault}
    cut_after: int | None = None  # drop the connection when so many bytes have come
    flip: int | None = None  # invert the byte at this offset
    status: int | None = None  # refuse the upload with this HTTP status before reading it
    at: tuple[int, Callable[[], object]] | None = None  # call something when so many bytes have come


@dataclass
class FaultProxy:
    """A running proxy. `received` holds one file per upload, in order; `calls` the SOAP methods that went through."""

    port: int
    faults: Faults
    received: list[Path]
    calls: list[str]


@contextlib.contextmanager
def start(upstream: Server, lab: Path, keep: Path) -> Iterator[FaultProxy]:
    """Stand on a free port of the loopback interface, with the lab's own certificate; uploads are kept in `keep`."""
    keep.mkdir(parents=True, exist_ok=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(lab / certificate.CERTIFICATE, lab / certificate.KEY)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.tls = context
    server.upstream = upstream
    server.client = ssl.create_default_context(cafile=lab / certificate.CA)
    server.keep = keep
    server.proxy = FaultProxy(server.server_address[1], Faults(), [], [])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    tls: ssl.SSLContext
    client: ssl.SSLContext
    upstream: Server
    keep: Path
    proxy: FaultProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A cut connection is nothing to report: mostly it was our own doing."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body of an answer are two writes
    server: _Server
    _kept: http.client.HTTPSConnection | None = None

    def setup(self) -> None:
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        if self._kept:
            self._kept.close()
        with contextlib.suppress(OSError):
            super().finish()
        with contextlib.suppress(OSError):
            self.request.close()

    def log_message(self, format: str, *args: object) -> None:
        """Be silent."""

    def do_GET(self) -> None:
        self._forward(b"", GET)

    def do_POST(self) -> None:
        if self.path.startswith("/nfc/"):
            self._upload()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        method = _method(body)
        self.server.proxy.calls.append(method)
        fault = self.server.proxy.faults.soap.get(method)
        if fault and fault.times > 0:
            fault.times -= 1
            self._troubled(fault)
        else:
            self._forward(body, method)

    def _troubled(self, trouble: Trouble | None) -> bool:
        """Whether it was answered, or will never be."""
        if isinstance(trouble, Fault):
            answer = FAULT.format(name=trouble.name, text=trouble.text, fields=trouble.fields)
            self._answer(500, "text/xml; charset=utf-8", answer.encode())
        elif isinstance(trouble, int):
            self.close_connection = True
            self._answer(trouble, "text/plain", b"no", {"Connection": "close"})
        elif trouble == "dropped":
            self.close_connection = True
        return trouble not in (None, "late")

    def _forward(self, body: bytes, method: str) -> None:
        trouble = self.server.proxy.faults.ask(method, 0)
        if self._troubled(trouble):
            return
        connection = self._kept = self._kept or self._upstream()  # a handshake costs more than all the rest
        try:
            skip = {"host", "content-length", "accept-encoding", "connection"}
            headers = {k: x for k, x in self.headers.items() if k.lower() not in skip}
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
            # an upload has to come to us, not to the server itself
            ours, theirs = (f"127.0.0.1:{self.server.proxy.port}", f"{self.server.upstream.host}:{self.server.upstream.port}")
            content = content.replace(f"https://{theirs}/nfc/".encode(), f"https://{ours}/nfc/".encode())
            cookie = answer.getheader("Set-Cookie")
            kind = answer.getheader("Content-Type") or "text/xml"
            time.sleep(self.server.proxy.faults.delay if trouble == "late" else 0)
            self._answer(answer.status, kind, content, {"Set-Cookie": cookie} if cookie else {})
        except BaseException:
            connection.close()
            self._kept = None
            raise

    def _upload(self) -> None:
        proxy, faults = self.server.proxy, self.server.proxy.faults
        if faults.status is not None:
            self.close_connection = True
            self._answer(faults.status, "text/plain", b"no", {"Connection": "close"})
            return
        chunked, done = self.headers.get("Transfer-Encoding") == "chunked", 0
        kept = self.server.keep / f"upload-{len(proxy.received)}"
        proxy.received.append(kept)
        connection = self._upstream()
        try:
            connection.putrequest("POST", self.path)
            connection.putheader("Content-Type", self.headers["Content-Type"])
            length = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", self.headers["Content-Length"])
            connection.putheader(*length)
            connection.endheaders()
            with kept.open("wb") as f:
                for piece in self._chunks() if chunked else self._pieces(int(self.headers["Content-Length"])):
                    chunk = bytearray(piece)
                    if not chunk:
                        return
                    if faults.flip is not None and done <= faults.flip < done + len(chunk):
                        chunk[faults.flip - done] ^= 0xFF
                    done += len(chunk)
                    f.write(chunk)
                    connection.send(b"%x\r\n%b\r\n" % (len(chunk), bytes(chunk)) if chunked else bytes(chunk))
                    if faults.at and done >= faults.at[0]:
                        what, faults.at = faults.at[1], None
                        what()
                    trouble = faults.ask(UPLOAD, done)
                    if self._troubled(trouble):
                        return
                    time.sleep(faults.delay if trouble == "late" else 0)
                    if faults.cut_after is not None and done >= faults.cut_after:
                        return
            if chunked:
                connection.send(b"0\r\n\r\n")
            answer = connection.getresponse()
            self._answer(answer.status, "text/plain", answer.read())
        finally:
            self.close_connection = True
            connection.close()

    def _pieces(self, size: int) -> Iterator[bytes]:
        """A body of that many bytes; empty where it ended too early."""
        while size:
            piece = self.rfile.read(min(CHUNK, size))
            yield piece
            size -= len(piece)

    def _chunks(self) -> Iterator[bytes]:
        """A body in chunks (RFC 9112 §7.1); empty where it ended too early."""
        while size := int(self.rfile.readline() or b"-1", 16):
            yield from self._pieces(size) if size > 0 else [b""]
            self.rfile.readline()
        self.rfile.readline()

    def _upstream(self) -> http.client.HTTPSConnection:
        upstream = self.server.upstream
        return http.client.HTTPSConnection(upstream.host, upstream.port, context=self.server.client, timeout=30)

    def _answer(self, status: int, kind: str, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _method(body: bytes) -> str:
    """Name of the SOAP method: the first element of the envelope's body."""
    found = re.search(rb"<(?:\w+:)?Body>\s*<(?:\w+:)?(\w+)", body)
    return found[1].decode() if found else ""
