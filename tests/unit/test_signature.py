"""Signatures by real OpenSSH keys: who may sign what, and for how long."""

import base64
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hikkoshi import files, tool
from hikkoshi.approval import signature
from hikkoshi.approval.signature import Trust
from hikkoshi.errors import BadInput, ToolFailed
from processes import PATIENCE, wait_for

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


def test_an_answer_is_remembered_until_anything_that_it_depends_on_is_another(
    signed: Path, trust: Trust, operator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert signature.verify(signed, trust, "evidence", NOW)
    with monkeypatch.context() as nowhere:
        nowhere.setenv("PATH", "/nowhere")
        assert signature.verify(signed, trust, "evidence", NOW)
    assert not signature.verify(signed, trust, "approval", NOW)
    assert not signature.verify(signed, trust, "evidence", NOW.replace(year=2028))
    assert not signature.verify(signed, trust, "evidence", NOW, b"another text")
    assert trust.revoked
    trust.revoked.write_text(operator.with_suffix(".pub").read_text())
    assert not signature.verify(signed, trust, "evidence", NOW)
    trust.revoked.write_text("")
    trust.allowed.write_text("")
    assert not signature.verify(signed, trust, "evidence", NOW)


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


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Signatures of every usual kind of key, as this OpenSSH writes them; the last by an agent that holds the key."""
    folder, made = tmp_path_factory.mktemp("kinds"), list[bytes]()
    text = folder / "text"
    text.write_text("what was seen\n")
    for kind in ("ed25519", "ecdsa", "rsa"):
        tool.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", folder / kind])
        made.append(signature.sign(text, folder / kind, "evidence").read_bytes())
    socket = folder / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        own = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        asked = ["ssh-add", "-l"]  # status 2: nobody listens yet
        wait_for(lambda: subprocess.run(asked, env=own, capture_output=True, check=False).returncode != 2, "the agent listens")
        subprocess.run(["ssh-add", "-q", folder / "rsa"], env=own, check=True)
        (folder / "rsa").unlink()
        signature.path_of(text).unlink()
        sign = ["ssh-keygen", "-Y", "sign", "-f", folder / "rsa.pub", "-n", "evidence", text]
        subprocess.run(sign, env=own, check=True, stderr=subprocess.DEVNULL)
        made.append(signature.path_of(text).read_bytes())
    finally:
        agent.terminate()
        agent.wait(PATIENCE)
    return made


def test_what_ssh_keygen_writes_is_canonical_by_every_kind_of_key_and_by_an_agent(written: list[bytes]) -> None:
    assert [signature.canonical(armour) for armour in written] == [True] * 4


@given(data=st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_not_a_byte_of_a_signature_file_can_be_added_taken_or_changed(written: list[bytes], data: st.DataObject) -> None:
    armour = data.draw(st.sampled_from(written))
    at, cut = data.draw(st.integers(0, len(armour))), data.draw(st.integers(0, 3))
    put = data.draw(st.binary(max_size=8) | st.sampled_from([b" ", b"\n", b"\t", b"=", b"\r\n", b"Comment: x\n", armour]))
    other = armour[:at] + put + armour[at + cut :]
    assume(other != armour)
    found = signature.canonical(other)
    if found:  # another signature then, of other bytes: nothing stands beside its block
        block = b"".join(other.split(b"\n")[1:-2])
        assert base64.b64decode(block) != base64.b64decode(b"".join(armour.split(b"\n")[1:-2]))


@pytest.mark.parametrize(
    ("what", "spoil"),
    [
        ("words before", lambda a: b"approved by the director\n" + a),
        ("words after", lambda a: a + b"approved by the director\n"),
        ("a blank line after", lambda a: a + b"\n"),
        ("no line end", lambda a: a[:-1]),
        ("blanks in a line", lambda a: a.replace(b"U1NI", b"U1 NI", 1)),
        ("other line ends", lambda a: a.replace(b"\n", b"\r\n")),
        ("longer lines", lambda a: b"\n".join([a.split(b"\n")[0], b"".join(a.split(b"\n")[1:-2]), *a.split(b"\n")[-2:]])),
        ("a second block", lambda a: a + a),
        ("nothing", lambda a: b""),
    ],
)
def test_a_signature_with_anything_beside_its_block_counts_for_nothing(
    signed: Path, trust: Trust, what: str, spoil: Callable[[bytes], bytes]
) -> None:
    assert signature.verify(signed, trust, "evidence", NOW)
    beside = signature.path_of(signed)
    beside.write_bytes(spoil(beside.read_bytes()))
    found = signature.verify(signed, trust, "evidence", NOW)
    assert not found
    assert found.flaw == "the signature is not one block as ssh-keygen writes it, and nothing else"


def test_what_is_larger_than_anything_that_is_signed_is_not_read(signed: Path, trust: Trust) -> None:
    os.truncate(signed, files.LARGEST + 1)
    assert "larger than" in signature.verify(signed, trust, "evidence", NOW).flaw
