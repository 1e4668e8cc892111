"""Where an upload goes, how the host there is known, and what its manifest proves."""

import ssl
from dataclasses import dataclass

import pytest
from pyVmomi import vim, vmodl

from hikkoshi.errors import StepFailed
from hikkoshi.vsphere import nfc, session, tls

SENT = nfc.Sent(bytes=1000, sha1="a" * 40, sha256="b" * 64, seconds=1.0)
TARGET = vim.HttpNfcLease.DeviceUrl(
    key="disk-0", importKey="/g/1:0", url="https://esx1/nfc/x/disk-0.vmdk", sslThumbprint=""
)


@dataclass
class Server:
    """What `context_for` needs to know of a session."""

    host: str
    port: int
    context: ssl.SSLContext


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


class TestTrust:
    def server(self) -> Server:
        return Server("vc", 443, ssl.create_default_context())

    def test_another_host_is_known_by_the_fingerprint_that_the_server_gives(self) -> None:
        target = vim.HttpNfcLease.DeviceUrl(sslThumbprint=":".join(["AB"] * 20))
        context = nfc.context_for(self.server(), "esx1", 443, target)  # type: ignore[arg-type]
        assert isinstance(context, tls.PinnedContext)
        assert (context.algorithm, context.pin) == ("sha1", "ab" * 20)

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

    @pytest.mark.parametrize(
        "fields",
        [{"sha1": "c" * 40}, {"size": 999}, {"checksum": "c" * 64, "checksumType": "sha256"}],
    )
    def test_another_hash_or_size_is_a_failure(self, fields: dict[str, object]) -> None:
        with pytest.raises(StepFailed, match="other bytes than were sent"):
            nfc.check_manifest([entry(**fields)], TARGET, SENT)

    def test_no_manifest_is_unknown_and_says_so(self) -> None:
        assert "unknown" in nfc.check_manifest([], TARGET, SENT)

    def test_the_entry_is_taken_by_its_key(self) -> None:
        other = entry(key="disk-1", sha1="c" * 40)
        assert "agrees" in nfc.check_manifest([other, entry()], TARGET, SENT)


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
        for error in (
            vim.fault.NoPermission(),
            vim.fault.NotAuthenticated(),
            vmodl.MethodFault(),
            KeyError(""),
            OSError(),
        ):
            assert session.advice(error)
