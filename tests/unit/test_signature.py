"""Signatures by real OpenSSH keys: who may sign what, and for how long."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hikkoshi import signature, tool
from hikkoshi.errors import BadInput, ToolFailed
from hikkoshi.signature import Trust

pytestmark = pytest.mark.needs("ssh-keygen")


def key(folder: Path, name: str, passphrase: str = "") -> Path:
    path = folder / name
    tool.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", path])
    return path


def listed(path: Path, who: str, options: str) -> str:
    return f"{who} {options} {path.with_suffix('.pub').read_text().strip()}\n"


@pytest.fixture
def operator(tmp_path: Path) -> Path:
    return key(tmp_path, "operator")


@pytest.fixture
def trust(tmp_path: Path, operator: Path) -> Trust:
    allowed, revoked = tmp_path / "allowed", tmp_path / "revoked"
    allowed.write_text(listed(operator, "op@site", 'namespaces="evidence",valid-before="20270101"'))
    revoked.write_text("")
    return Trust(allowed, revoked)


@pytest.fixture
def signed(tmp_path: Path, operator: Path) -> Path:
    path = tmp_path / "text"
    path.write_text("what was seen\n")
    signature.sign(path, operator, "evidence")
    return path


NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)


def test_a_signature_names_its_signer_and_the_key(signed: Path, trust: Trust, operator: Path) -> None:
    found = signature.verify(signed, trust, "evidence", NOW)
    assert found
    assert (found.signer, found.key) == ("op@site", signature.fingerprint(operator))


def test_a_changed_text_is_not_the_signed_one(signed: Path, trust: Trust) -> None:
    signed.write_text("what was seen!\n")
    assert not signature.verify(signed, trust, "evidence", NOW)


def test_a_signature_for_one_purpose_is_none_for_the_other(signed: Path, trust: Trust) -> None:
    found = signature.verify(signed, trust, "approval", NOW)
    assert "namespace" in found.flaw


def test_a_key_that_nobody_listed_is_a_stranger_s(tmp_path: Path, signed: Path, trust: Trust) -> None:
    signature.sign(signed, key(tmp_path, "stranger"), "evidence")
    assert "not among the allowed signers" in signature.verify(signed, trust, "evidence", NOW).flaw


def test_a_key_is_good_for_as_long_as_the_list_says(signed: Path, trust: Trust) -> None:
    late = datetime(2027, 1, 2, tzinfo=UTC)
    assert "expired" in signature.verify(signed, trust, "evidence", late).flaw


def test_a_revoked_key_is_good_for_nothing(signed: Path, trust: Trust, operator: Path) -> None:
    assert trust.revoked is not None
    trust.revoked.write_text(operator.with_suffix(".pub").read_text())
    found = signature.verify(signed, trust, "evidence", NOW)
    assert "revoked" in found.flaw


def test_a_text_without_a_signature_is_not_signed(tmp_path: Path, trust: Trust) -> None:
    (tmp_path / "other").write_text("x")
    assert signature.verify(tmp_path / "other", trust, "evidence", NOW).flaw == "not signed"


def test_signing_again_replaces_the_signature(signed: Path, trust: Trust, operator: Path) -> None:
    signed.write_text("something else\n")
    signature.sign(signed, operator, "evidence")
    assert signature.verify(signed, trust, "evidence", NOW)


def test_a_key_that_is_not_there_is_named(tmp_path: Path, signed: Path) -> None:
    with pytest.raises(BadInput, match=r"key to sign with is missing(.|\n)*nowhere"):
        signature.sign(signed, tmp_path / "nowhere", "evidence")


def test_a_key_behind_a_passphrase_fails_where_nobody_can_be_asked(tmp_path: Path, signed: Path) -> None:
    with pytest.raises(ToolFailed, match="passphrase"):
        signature.sign(signed, key(tmp_path, "closed", "open sesame"), "evidence")


@pytest.mark.parametrize("options", ["", "cert-authority", 'namespaces="*"', 'namespaces=""'])
def test_a_list_in_which_a_key_may_sign_anything_is_refused(trust: Trust, operator: Path, options: str) -> None:
    trust.allowed.write_text("# who may sign\n" + listed(operator, "op@site", options))
    with pytest.raises(BadInput, match=r"may sign anything(.|\n)*allowed:2"):
        trust.check()


def test_both_lists_have_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="2 problems"):
        Trust(tmp_path / "a", tmp_path / "b").check()
