"""The operator's key, which seals what is carried out: made here, or one that is there already. A private one is never read."""

import getpass
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from hikkoshi import files, tool
from hikkoshi.errors import BadInput, Problem

OWN = Path("outputs/keys/operator")  # where one that is made here has its place
_KEY = re.compile(r"((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-\S+) ([A-Za-z0-9+/]+=*)(?: (\S.*))?")
_PRINCIPAL = re.compile(r"""[^\s,*?!"#]+@[^\s,*?!"]+""")
_LONGEST = 16384  # bytes of a file with a public key


@dataclass(frozen=True)
class PublicKey:
    """A public key and whose it is; `path` as params/site.yml names it."""

    path: Path
    principal: str
    kind: str
    blob: str


def taken(path: Path, named: Path | None = None) -> PublicKey:
    """The public key in a file, or in the .pub beside a private one; `named`: what it will be called. `BadInput` for none."""
    public = path if path.suffix == ".pub" else path.with_name(path.name + ".pub")
    try:
        lines = files.read(public, _LONGEST, follow=True).decode(errors="replace").strip().splitlines()
        found = _KEY.fullmatch(lines[0].strip()) if len(lines) == 1 else None
        why = "something else"
    except OSError as e:
        found, why = None, e.strerror or str(e)
    if found is None or "-cert-" in found[1]:
        raise BadInput(
            Problem(
                code="public-key-unusable",
                what="this is no public key that can be used",
                where=str(public),
                found=why,
                expected="one line, as ssh-keygen writes it into a .pub",
                remedy="make one by `ssh-keygen -t ed25519`, and name its .pub",
            )
        )
    comment = found[3] or ""
    return PublicKey(named or public, comment if _PRINCIPAL.fullmatch(comment) else principal(), found[1], found[2])


def make(root: Path) -> PublicKey:
    """Make one below a site folder; ssh-keygen asks for its passphrase on the terminal. `ToolFailed` where it makes none."""
    path = root / OWN
    path.parent.mkdir(parents=True, mode=0o700)
    tool.talk(["ssh-keygen", "-q", "-t", "ed25519", "-C", principal(), "-f", path])
    return taken(path, OWN.with_suffix(".pub"))


def principal() -> str:
    """Who sits here: user@host."""
    words = f"{getpass.getuser()}@{socket.gethostname()}"
    return words if _PRINCIPAL.fullmatch(words) else "operator@here"
