"""Who may approve: whoever has a key that is listed for it, and is not the one who carries the step out."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from hikkoshi.approval import signature
from hikkoshi.approval.signature import Trust
from hikkoshi.errors import BadInput, Problem, Refused
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site


def trust(home: Home, site: Site) -> Trust:
    """The site's lists of keys."""
    s = site.signing
    return Trust(home.path(s.allowed_signers), home.path(s.revoked) if s.revoked else None)


def listed(allowed: Path, fingerprint: str) -> tuple[str, list[str]]:
    """Who a key is by the first line of the allowed signers that has it, and its namespaces; empty where none has."""
    for row in allowed.read_text(encoding="utf-8", errors="replace").splitlines():
        key = re.search(r"\s(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-\S+\s+([A-Za-z0-9+/]+=*)", row)
        if key and not row.startswith("#") and _fingerprint(key[1]) == fingerprint:
            namespaces = re.search(r'\bnamespaces="([^"]*)"', row)
            return row.split()[0].strip('"').split(",")[0], namespaces[1].split(",") if namespaces else []
    return "", []


@dataclass(frozen=True)
class Approver:
    """Whose key it is that a plan is to be approved with; `doubt` says why that would count for nothing here."""

    principal: str
    key: Path
    fingerprint: str
    doubt: str


def of(home: Home, guest: str, key: Path) -> Approver:
    """Who approves a guest's plan with a key.

    `BadInput` for a key or list that is missing, `Refused` for a key that is not listed.
    """
    site, lists = home.site(), trust(home, home.site())
    lists.check()
    fingerprint = signature.fingerprint(key) if key.is_file() else ""
    if not fingerprint:
        raise BadInput(
            Problem(
                code="approver-key-unreadable",
                what="the approver's key cannot be read",
                where=str(key),
                found="not a key" if key.is_file() else "no such file",
                expected="an OpenSSH private key, or its .pub where an agent holds it",
                remedy=f"name it: hikkoshi approve {guest} --key FILE",
            )
        )
    who, namespaces = listed(lists.allowed, fingerprint)
    if "approval" not in namespaces:
        found = f"{who}, for {', '.join(namespaces)} only" if who else "not listed"
        raise may_not(guest, key, fingerprint, lists, found)
    return Approver(who, key, fingerprint, one_person(home.path(site.signing.key), site, lists, who, fingerprint))


def may_not(guest: str, key: Path, fingerprint: str, lists: Trust, found: str) -> Refused:
    """The refusal of a key, and what to do about it."""
    return Refused(
        Problem(
            code="key-may-not-approve",
            what="this key may not approve",
            where=str(lists.allowed),
            found=f"{key} ({fingerprint}): {found}",
            expected='PRINCIPAL namespaces="approval" KEYTYPE KEY, and the key not revoked',
            remedy=f"have it listed, or name an approver's key: hikkoshi approve {guest} --key FILE",
        )
    )


def _fingerprint(key: str) -> str:
    try:
        blob = base64.b64decode(key, validate=True)
    except binascii.Error:
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def one_person(operator: Path, site: Site, lists: Trust, who: str, key: str) -> str:
    """Why an approval by this principal and key is not a second person's, where the site asks for two."""
    if not site.signing.two_persons:
        return ""
    own = signature.fingerprint(operator) if operator.is_file() else ""
    name, _ = listed(lists.allowed, own) if own else ("", [])
    if not name:
        why = "not listed" if own else "not a key" if operator.is_file() else "no such file"
        return f"by {who}, but who carries it out is not known: {operator}: {why}"
    if key == own or who == name:
        return f"by {who}, who carries it out too: two persons are asked for"
    return ""
