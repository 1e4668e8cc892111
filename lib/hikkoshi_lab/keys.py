"""The lab's own signing keys: an operator, who runs the steps and seals, and an approver, the second person.

They are kept in outputs/keys, made once, and stay when the lab goes down: sealed records are checked with them.
"""

from pathlib import Path

from hikkoshi import files, tool
from hikkoshi.params.home import Home

OPERATOR, APPROVER = "operator@lab", "approver@lab"
NAMESPACES = {OPERATOR: "evidence", APPROVER: "approval"}


def folder(home: Home) -> Path:
    """Where the lab keeps its keys."""
    return home.outputs / "keys"


def make(home: Home) -> bool:
    """Make what is missing; says whether anything was."""
    own = folder(home)
    allowed, revoked = own / "allowed_signers", own / "revoked"
    if allowed.is_file() and revoked.is_file():
        return False
    own.mkdir(parents=True, exist_ok=True)
    lines = []
    for principal, namespace in NAMESPACES.items():
        key = own / principal.partition("@")[0]
        if not key.is_file():
            tool.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", principal, "-f", key])
        kind, public, _ = key.with_suffix(".pub").read_text().split(maxsplit=2)
        lines.append(f'{principal} namespaces="{namespace}" {kind} {public}\n')
    files.write(revoked, "")
    files.write(allowed, "".join(lines))
    return True
