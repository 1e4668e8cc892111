"""Signatures by OpenSSH keys (`ssh-keygen -Y`, the SSHSIG format of OpenSSH's PROTOCOL.sshsig), and who may give them.

A signature is a file of its own beside what it signs: one block of text as ssh-keygen writes it, with nothing added that
nobody has signed. Its namespace says what it is for: `evidence` on records, `approval`
on plans; one given for the one is none for the other. Who may sign is told by a file of allowed signers (ssh-keygen(1)), of
which every line has to name its namespaces.
"""

import base64
import hashlib
import re
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from hikkoshi import files, tool
from hikkoshi.approval import limits
from hikkoshi.errors import BadInput, Problem
from hikkoshi.secret import temporary

# one principal by name, its options, its key: no patterns, no lists, no certificates
LISTED = re.compile(r"""[^\s,*?!"]+\s+([a-z-]+="[^"]*",)*namespaces="[^"*?!]+"(,[a-z-]+="[^"]*")*\s+(ssh|ecdsa|sk-)""")
UTC_CLOCK = {"TZ": "UTC"}  # in which ssh-keygen reads a time without a zone
Namespace = Literal["evidence", "approval"]
BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


@dataclass(frozen=True)
class Trust:
    """Whom to believe: the file of allowed signers, and the keys that are good no more (public keys or a KRL)."""

    allowed: Path
    revoked: Path | None = None

    def check(self) -> None:
        """`BadInput` for a file that is missing, or has a line that does not say what its key may sign."""
        problems = []
        for path in (self.allowed, self.revoked):
            if path is not None and not path.is_file():
                problems.append(
                    Problem(
                        code="key-list-missing",
                        what="a list of keys is missing",
                        where=str(path),
                        found="no such file",
                        expected="OpenSSH's allowed signers" if path is self.allowed else "revoked public keys, or none",
                        remedy="write it (docs/approve.md has an example), or correct `signing` in params/site.yml, or the path "
                        "given with --allowed-signers or --revoked",
                    )
                )
        if not problems:
            try:
                lines = files.read(self.allowed, limits.SIGNERS, follow=True).decode(errors="replace").splitlines()
            except OSError as e:
                found, remedy = (e.strerror or str(e), "let this user read it, or name another: `signing` in params/site.yml")
                what, expected = "a list of keys cannot be read", "OpenSSH's allowed signers"
                raise BadInput(
                    Problem(
                        code="key-list-unreadable",
                        what=what,
                        where=str(self.allowed),
                        found=found,
                        expected=expected,
                        remedy=remedy,
                    )
                ) from None
            problems = [
                Problem(
                    code="signer-without-namespace",
                    what="an allowed signer may sign anything",
                    where=f"{self.allowed}:{n}",
                    found=line[:60],
                    expected='namespaces="evidence" for operators, namespaces="approval" for approvers',
                    remedy="add the option after the principal, see ssh-keygen(1), ALLOWED SIGNERS",
                )
                for n, line in enumerate(lines, 1)
                if line.strip() and not line.startswith("#") and not LISTED.match(line)
            ]
        if problems:
            raise BadInput(*problems)


@dataclass(frozen=True)
class SignatureVerdict:
    """What a signature is worth: who gave it and with which key (SHA256:…), or `flaw`, why it counts for nothing."""

    signer: str = ""
    key: str = ""
    flaw: str = ""

    def __bool__(self) -> bool:
        return not self.flaw


def path_of(signed: Path) -> Path:
    """Where the signature of a file is."""
    return signed.with_name(signed.name + ".sig")


def sign(signed: Path, key: Path, namespace: Namespace, *, ask: bool = False) -> Path:
    """Sign a file; returns the signature's path. `ask`: a passphrase or a touch may be asked for on the terminal.

    `BadInput` for a missing key, `ToolFailed` for one that cannot be used.
    """
    if not key.is_file():
        raise BadInput(
            Problem(
                code="signing-key-missing",
                what="the key to sign with is missing",
                where=str(key),
                found="no such file",
                expected="an OpenSSH private key, or its .pub where an agent holds it",
                remedy="make one with ssh-keygen, or name yours: signing.key in params/site.yml",
            )
        )
    with temporary.folder("sign") as private:
        copy = private / "signed"
        shutil.copyfile(signed, copy)  # ssh-keygen asks before it writes over an old signature
        argv: list[str | Path] = ["ssh-keygen", "-Y", "sign", "-f", key, "-n", namespace, copy]
        if ask:
            tool.talk(argv)
        else:
            tool.run(argv, timeout=60)
        files.write(path_of(signed), path_of(copy).read_bytes())
    return path_of(signed)


def verify(
    signed: Path, trust: Trust, namespace: Namespace, at: datetime | None = None, content: bytes | None = None
) -> SignatureVerdict:
    """Whose signature stands beside a file, if it is good. `at`: when it was given, for keys with a period of validity.

    `content`: what the file was found to hold, where that was read already.
    """
    beside = path_of(signed)
    if not beside.is_file():
        return SignatureVerdict(flaw="not signed")
    try:
        armour = files.read(beside, limits.SIGNATURE)  # once: what is judged is what is verified
    except OSError as e:
        return SignatureVerdict(flaw=f"the signature cannot be read: {e.strerror}")
    if not canonical(armour):
        return SignatureVerdict(flaw="the signature is not one block as ssh-keygen writes it, and nothing else")
    try:
        message = files.read(signed, limits.MANIFEST) if content is None else content
    except OSError as e:
        return SignatureVerdict(flaw=f"what is signed cannot be read: {e.strerror}")
    question = _question(armour, message, trust, namespace, at)
    if question in _ANSWERED:
        return _ANSWERED[question]
    with temporary.folder("verify") as private:
        copy = private / "signature"
        copy.write_bytes(armour)
        verdict = _verified(copy, message, trust, namespace, at)
    if question:
        _ANSWERED[question] = verdict
    return verdict


_ANSWERED: dict[str, SignatureVerdict] = {}  # by this process: two programs are started for an answer, and it does not change


def _question(armour: bytes, message: bytes, trust: Trust, namespace: Namespace, at: datetime | None) -> str:
    """All that an answer of ssh-keygen depends on, as a hash; empty where it is its own clock, or a list that it cannot read."""
    try:
        lists = [files.read(path, limits.SIGNERS, follow=True) for path in (trust.allowed, trust.revoked) if path]
    except OSError:
        return ""
    parts = [armour, message, namespace.encode(), f"{at:%Y%m%d%H%M%S}".encode() if at else b"", *lists]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest() if at else ""


def canonical(armour: bytes) -> bool:
    """Whether a signature file is exactly what ssh-keygen writes: one block, base64 in lines of 70, not a byte beside it."""
    lines = armour.decode("latin-1").split("\n")
    try:
        blob = base64.b64decode("".join(lines[1:-2]), validate=True)
    except ValueError:
        return False
    text = base64.b64encode(blob).decode()
    block = [text[at : at + 70] for at in range(0, len(text), 70)]
    return blob.startswith(b"SSHSIG") and "\n".join([BEGIN, *block, END, ""]).encode() == armour


def _verified(armour: Path, message: bytes, trust: Trust, namespace: Namespace, at: datetime | None) -> SignatureVerdict:
    """What ssh-keygen says of a signature."""
    when: list[str | Path] = ["-O", f"verify-time={at:%Y%m%d%H%M%S}Z"] if at else []
    keygen: list[str | Path] = ["ssh-keygen", "-Y"]
    listed = ["-f", trust.allowed, "-s", armour, *when]
    found = tool.run([*keygen, "find-principals", *listed], timeout=60, ok=range(256), env=UTC_CLOCK)
    signers = found.stdout.split()
    if not signers:
        return SignatureVerdict(flaw=_why(found.stderr) or "signed by a key that is not among the allowed signers")
    revoked: list[str | Path] = ["-r", trust.revoked] if trust.revoked else []
    argv = [*keygen, "verify", "-I", signers[0], "-n", namespace, *listed, *revoked]
    checked = tool.run(argv, stdin=message, timeout=60, ok=range(256), env=UTC_CLOCK)
    key = re.search(r"SHA256:\S+", checked.stdout)
    if checked.returncode or key is None:
        return SignatureVerdict(signers[0], flaw=_why(checked.stderr) or "the signature does not fit, or its key is revoked")
    return SignatureVerdict(signers[0], key[0])


def fingerprint(key: Path) -> str:
    """SHA256:… of a key's public half, as `ssh-keygen -l` prints it; empty where there is none to read."""
    found = tool.run(["ssh-keygen", "-l", "-f", key], timeout=60, ok=range(256))
    printed = re.search(r"SHA256:\S+", found.stdout)
    return printed[0] if printed else ""


def _why(stderr: str) -> str:
    """ssh-keygen's own words, without those that say nothing."""
    dull = ("Could not verify signature.", "No principal matched.")
    return "; ".join(line for line in stderr.splitlines() if line.strip() and line.strip() not in dull)
