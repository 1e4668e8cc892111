"""Where an upload goes, how the host there is known, and what its manifest proves."""

import contextlib
import http.client
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyVmomi import vim, vmodl

from hikkoshi.errors import BadInput, HikkoshiError, StepFailed, VSphereError
from hikkoshi.params.home import Home
from hikkoshi.params.site import VSphere
from hikkoshi.vsphere import nfc, session, tls
from hikkoshi_lab import certificate

SENT = nfc.Sent(bytes=1000, sha1="a" * 40, sha256="b" * 64, seconds=1.0)
TARGET = vim.HttpNfcLease.DeviceUrl(key="disk-0", importKey="/g/1:0", url="https://esx1/nfc/x/disk-0.vmdk", sslThumbprint="")


@dataclass
class Server:
    """What `context_for` needs to know of a session."""

    host: str
    port: int
    context: ssl.SSLContext


def four_parts(error: HikkoshiError, *, expected: bool = True) -> None:
    for problem in error.problems:
        assert all((problem.what, problem.where, problem.found, problem.expected or not expected, problem.remedy))


def entry(**fields: object) -> vim.HttpNfcLease.ManifestEntry:
    return vim.HttpNfcLease.ManifestEntry(**({"key": "disk-0", "sha1": "A" * 40, "size": 1000} | fields))


class TestAddress:
    @pytest.mark.parametrize(
        ("url", "address"),
        [
            ("https://esx1.example.org/nfc/52/disk-0.vmdk", ("esx1.example.org", 443)),
            ("https://esx1:902/nfc/52/disk-0.vmdk", ("esx1", 902)),
            ("https://*/nfc/52/disk-0.vmdk", ("vc", 8443)),
            ("https://[2001:db8::1]:444/nfc/x", ("2001:db8::1", 444)),
        ],
    )
    def test_a_star_means_host_and_port_of_the_session(self, url: str, address: tuple[str, int]) -> None:
        assert nfc.address_of(url, "vc", 8443) == address

    @pytest.mark.parametrize(
        "url",
        [
            "",
            None,
            "*",
            "esx1",
            "/nfc/52/disk-0.vmdk",
            "https:///nfc",
            "https://",
            "http://esx1/nfc",
            "ftp://esx1/x",
            "file:///etc/shadow",
            "https://esx1:port/x",
            "https://esx1:99999/x",
            "https://[2001:db8::1/x",
            "https://a@esx1/x",
            "https://esx1/a b",
            "https://esx1/a\r\nHost: other",
            "https://esx1/\u96ea",
        ],
    )
    def test_what_is_no_https_address_of_a_host_is_told_as_such(self, url: str | None) -> None:
        with pytest.raises(VSphereError) as e:
            nfc.address_of(url, "vc", 8443)  # type: ignore[arg-type]
        four_parts(e.value)

    @given(st.text(max_size=40) | st.text(max_size=20).map(lambda rest: f"https://{rest}"))
    def test_no_url_is_an_error_that_nobody_foresaw(self, url: str) -> None:
        try:
            host, port = nfc.address_of(url, "vc", 8443)
        except VSphereError as e:
            four_parts(e)
        else:
            assert host
            assert 0 < port < 65536


class TestTrust:
    def server(self) -> Server:
        return Server("vc", 443, ssl.create_default_context())

    def test_another_host_is_known_by_the_fingerprint_that_the_server_gives(self) -> None:
        target = vim.HttpNfcLease.DeviceUrl(sslThumbprint=":".join(["AB"] * 20))
        context = nfc.context_for(self.server(), "esx1", 443, target)  # type: ignore[arg-type]
        assert isinstance(context, tls.PinnedContext)
        assert (context.algorithm, context.pin) == ("sha1", "ab" * 20)

    @pytest.mark.parametrize(
        "thumbprint", ["AB", "ABC", "AB:" * 19 + "A", "ZZ" * 20, "AB" * 21, "\u0661" * 40, ":", " ", "AB " * 20]
    )
    def test_a_fingerprint_that_is_none_is_told_as_such(self, thumbprint: str) -> None:
        target = vim.HttpNfcLease.DeviceUrl(sslThumbprint=thumbprint)
        with pytest.raises(VSphereError, match="no usable fingerprint") as e:
            nfc.context_for(self.server(), "esx1", 443, target)  # type: ignore[arg-type]
        four_parts(e.value)

    @settings(deadline=None, max_examples=30)
    @given(st.text())
    def test_no_fingerprint_is_an_error_that_nobody_foresaw(self, thumbprint: str) -> None:
        target = vim.HttpNfcLease.DeviceUrl(sslThumbprint=thumbprint)
        with contextlib.suppress(VSphereError):
            nfc.context_for(self.server(), "esx1", 443, target)  # type: ignore[arg-type]

    def test_without_a_fingerprint_another_host_is_trusted_no_more_than_the_server(self) -> None:
        server = self.server()
        assert nfc.context_for(server, "esx1", 443, TARGET) is server.context  # type: ignore[arg-type]

    def test_a_pinned_context_refuses_where_it_could_not_look(self) -> None:
        with pytest.raises(NotImplementedError):
            tls.PinnedContext("ab" * 32).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())


class TestManifest:
    def test_the_same_hash_and_size_agree(self) -> None:
        assert nfc.check_manifest([entry()], TARGET, SENT) == "manifest agrees: sha1, 1,000 bytes"

    def test_a_newer_servers_sha256_counts_as_well(self) -> None:
        entries = [entry(checksum="B" * 64, checksumType="sha256")]
        assert nfc.check_manifest(entries, TARGET, SENT) == "manifest agrees: sha1, sha256, 1,000 bytes"

    @pytest.mark.parametrize("fields", [{"sha1": "c" * 40}, {"size": 999}, {"checksum": "c" * 64, "checksumType": "sha256"}])
    def test_another_hash_or_size_is_a_failure(self, fields: dict[str, object]) -> None:
        with pytest.raises(StepFailed, match="other bytes than were sent"):
            nfc.check_manifest([entry(**fields)], TARGET, SENT)

    def test_no_manifest_is_unknown_and_says_so(self) -> None:
        assert "unknown" in nfc.check_manifest([], TARGET, SENT)

    def test_the_entry_is_taken_by_its_key(self) -> None:
        other = entry(key="disk-1", sha1="c" * 40)
        assert "agrees" in nfc.check_manifest([other, entry()], TARGET, SENT)

    @settings(deadline=None)
    @given(
        st.lists(
            st.none()
            | st.builds(
                vim.HttpNfcLease.ManifestEntry,
                key=st.sampled_from(["disk-0", "disk-1", ""]),
                sha1=st.text(max_size=41),
                size=st.integers(-(1 << 63), (1 << 63) - 1),
                checksum=st.none() | st.text(max_size=65),
                checksumType=st.none() | st.sampled_from(["sha1", "sha256", "SHA256", "md5", ""]),
            )
        )
    )
    def test_no_manifest_is_an_error_that_nobody_foresaw(self, entries: list[vim.HttpNfcLease.ManifestEntry]) -> None:
        with contextlib.suppress(StepFailed):
            assert nfc.check_manifest(entries, TARGET, SENT)


class Refusing:
    """A connection to a host that answers 507, in mid-body or at the end of it."""

    status, reason = 507, "Insufficient Storage"

    def __init__(self, *_: object, **__: object) -> None:
        self.full, self.sock = False, socket.socket()

    def getresponse(self) -> "Refusing":
        return self

    def send(self, data: bytes) -> None:
        if self.full and data:
            raise BrokenPipeError(32, "Broken pipe")

    def read(self, size: int) -> bytes:
        return b"no"[:size]

    def close(self) -> None:
        self.sock.close()

    def putrequest(self, *_: str) -> None:
        pass

    putheader = endheaders = putrequest


@pytest.mark.parametrize(("early", "code"), [(True, "upload-cut-off"), (False, "upload-refused")])
def test_a_full_datastore_asks_for_room_wherever_the_upload_stops(
    early: bool, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http.client, "HTTPSConnection", Refusing)
    server = Mock(host="vc", port=443, timeout=5)
    lease = Mock(**{"state.return_value": "lease ready"})
    with pytest.raises(VSphereError) as e, nfc.Upload(server, lease, TARGET) as up:
        up._connection.full = early
        up.put(b"some")
    (problem,) = e.value.problems
    assert (problem.code, "507" in problem.found) == (code, True)
    assert problem.remedy.startswith("make room on the datastore")


STARTING = b"service unavailable"
VERSIONS = b"<namespaces><namespace><name>urn:vim25</name><version>6.5</version></namespace></namespaces>"
ENVELOPE = b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
LAUGHS = b"<!DOCTYPE l [<!ENTITY a 'ha'>" + b"".join(
    b"<!ENTITY %c '%s'>" % (c, b"&%c;" % (c - 1) * 10) for c in range(ord("b"), ord("l"))
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, VSphere, list[bytes]]]:
    """A server that says it is a vSphere, and answers everything with the last of the list."""
    folder = tmp_path_factory.mktemp("odd")
    certificate.make(folder)
    answers = [VERSIONS, b""]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(answers[0])

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(answers[1])

        def answer(self, body: bytes) -> None:
            self.send_response(503 if body == STARTING else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / certificate.CERTIFICATE, folder / certificate.KEY)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (folder / "password").write_text("correct horse battery")
    (folder / "password").chmod(0o600)
    site = VSphere(
        server=f"127.0.0.1:{server.server_address[1]}",
        ca=folder / certificate.CA,
        user="u",
        password="file:password",
        datacenter="d",
        cluster="c",
        datastore="s",
    )
    yield Home(folder), site, answers
    server.shutdown()
    thread.join()
    server.server_close()


class TestOddAnswers:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"no XML at all",
            b"\0\xff",
            b"<html><body>Welcome to the proxy</body></html>",
            ENVELOPE,
            ENVELOPE + b"<RetrieveServiceContentResponse/></soapenv:Body></soapenv:Envelope>",
            ENVELOPE + b'<x:Response xmlns:x="urn:vim25"><returnval>5</returnval></x:Response></soapenv:Body></soapenv:Envelope>',
            ENVELOPE + b"<soapenv:Fault/></soapenv:Body></soapenv:Envelope>",
            ENVELOPE + b"<soapenv:Fault><faultcode>x</faultcode></soapenv:Fault></soapenv:Body></soapenv:Envelope>",
            LAUGHS + b"]><x>&k;</x>",
        ],
    )
    def test_what_is_no_answer_of_a_vsphere_is_told_as_such(self, odd: tuple[Home, VSphere, list[bytes]], body: bytes) -> None:
        home, site, answers = odd
        answers[:] = VERSIONS, body
        with pytest.raises(VSphereError) as e:
            session.connect(home, site, timeout=5)
        four_parts(e.value, expected=False)

    def test_one_that_answers_503_is_a_vsphere_that_is_not_reached_yet(self, odd: tuple[Home, VSphere, list[bytes]]) -> None:
        home, site, answers = odd
        answers[:] = STARTING, b""
        with pytest.raises(VSphereError) as e:
            session.connect(home, site, timeout=5)
        (problem,) = e.value.problems
        assert problem.code == "vsphere-unreachable"
        assert "503" in problem.found

    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
    @given(st.binary(max_size=60) | st.text(max_size=60).map(lambda t: ENVELOPE + t.encode()))
    def test_no_answer_is_an_error_that_nobody_foresaw(self, odd: tuple[Home, VSphere, list[bytes]], body: bytes) -> None:
        home, site, answers = odd
        for answers[0], answers[1] in ((VERSIONS, body), (body, body)):
            with pytest.raises((VSphereError, BadInput)):
                session.connect(home, site, timeout=5)


class TestWords:
    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (vim.fault.NoPermission(privilegeId="VApp.Import", msg="Permission denied"), "privilegeId=VApp.Import"),
            (vim.fault.DuplicateName(name="gateway"), "DuplicateName: name=gateway"),
            (vmodl.fault.NotSupported(), "NotSupported"),
            (KeyError("AlreadyUpgradedFault"), "does not understand (KeyError: 'AlreadyUpgradedFault')"),
            (TimeoutError("timed out"), "TimeoutError: timed out"),
        ],
    )
    def test_a_fault_is_told_with_its_kind_and_its_fields(self, error: BaseException, words: str) -> None:
        assert words in session.describe(error)

    def test_every_kind_of_error_has_an_advice(self) -> None:
        for error in (vim.fault.NoPermission(), vim.fault.NotAuthenticated(), vmodl.MethodFault(), KeyError(""), OSError()):
            assert session.advice(error)

    def test_a_session_that_has_ended_lacks_no_privilege(self) -> None:
        """To the API it is a kind of NoPermission."""
        assert "privilege" not in session.advice(vim.fault.NotAuthenticated())
        assert "privilege" in session.advice(vim.fault.NoPermission())
