"""Approvals: somebody's signed word that one plan may be carried out, without which nothing is done that users notice.

An approval is two files in the guest's folder, kept for ever: STAMP-PRINCIPAL.txt, a header and the very page that was
shown, and the signature of it, `ssh-keygen -Y sign -n approval`. It counts for one plan, by the SHA-256 of plan.json, for
as many days as the site allows, and while its key is good. It is withdrawn by revoking the key, or by another plan.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hikkoshi import files, signature, temporary
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, HikkoshiError, Problem, Refused
from hikkoshi.params import Home, Site
from hikkoshi.plan import Plan
from hikkoshi.signature import Trust

FOLDER = "approvals"  # in the guest's folder
FORMAT = "hikkoshi approval 1"
TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Statement:
    """What an approver signs. Times are in UTC, in whole seconds; every other field is one line, the page many."""

    guest: str
    site: str
    server: str  # vCenter or ESXi host
    plan: str  # SHA-256 of plan.json
    approver: str  # principal
    approved: datetime
    expires: datetime
    page: str

    def text(self) -> str:
        """The file: a line `name: value` for each field, an empty line, the page."""
        values = {"format": FORMAT, **{f.name: getattr(self, f.name) for f in fields(self) if f.name != "page"}}
        head = (f"{k}: {v:{TIME}}\n" if isinstance(v, datetime) else f"{k}: {v}\n" for k, v in values.items())
        return "".join([*head, "\n", self.page])


def parse(content: bytes) -> Statement | str:
    """The statement in a file, or why it is none. Strict: only what `Statement.text` writes is one."""
    try:
        return _parsed(content.decode())
    except ValueError as e:
        return line(str(e))


def _parsed(text: str) -> Statement:
    head, _, page = text.partition("\n\n")
    names = ["format", *(f.name for f in fields(Statement) if f.name != "page")]
    pairs = [row.partition(": ")[::2] for row in head.split("\n")]
    value = dict(pairs)
    if "\r" in text:
        raise ValueError("it has carriage returns: something has changed its line ends since")
    if [name for name, _ in pairs] != names:
        raise ValueError(f"its header is not {', '.join(names)}, each once")
    if value.pop("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    if not re.fullmatch(r"[0-9a-f]{64}", value["plan"]):
        raise ValueError("it names no plan by SHA-256")
    if not all(v.isprintable() and v.strip() for v in value.values()) or not page.strip():
        raise ValueError("a part of it is empty, or cannot be printed")
    approved, expires = (datetime.strptime(value.pop(k), TIME).replace(tzinfo=UTC) for k in ("approved", "expires"))
    found = Statement(**value, approved=approved, expires=expires, page=page)
    if expires <= approved or found.text() != text:
        raise ValueError("its times are not as hikkoshi approve writes them, the later one last")
    return found


@dataclass(frozen=True)
class Approval:
    """One approval as it is worth now; `flaw` says why it counts for nothing."""

    path: Path
    statement: Statement | None = None
    until: datetime | None = None
    key: str = ""  # SHA256:… of the key that signed it
    flaw: str = ""

    def __str__(self) -> str:
        if self.flaw or self.statement is None or self.until is None:
            return f"{line(self.path.name)}: {self.flaw}"
        return f"approved by {self.statement.approver} until {self.until:%Y-%m-%d %H:%M} UTC"

    def plain(self) -> dict[str, str]:
        """The same as JSON can hold it; empty where it is not known."""
        said = self.statement
        return {
            "file": str(self.path),
            "signature": str(signature.path_of(self.path)),
            "guest": said.guest if said else "",
            "plan": said.plan if said else "",
            "approver": said.approver if said else "",
            "key": self.key,
            "approved": said.approved.strftime(TIME) if said else "",
            "expires": self.until.strftime(TIME) if self.until else "",
            "flaw": self.flaw,
        }


def folder(home: Home, guest: str) -> Path:
    """Where a guest's approvals are kept."""
    return home.folder(guest) / FOLDER


def trust(home: Home, site: Site) -> Trust:
    """The site's lists of keys."""
    s = site.signing
    return Trust(home.path(s.allowed_signers), home.path(s.revoked) if s.revoked else None)


def line(text: str) -> str:
    """A text of others on one line, without anything that a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def listed(allowed: Path, fingerprint: str) -> tuple[str, list[str]]:
    """Who a key is by the first line of the allowed signers that has it, and its namespaces; empty where none has."""
    for row in allowed.read_text(encoding="utf-8", errors="replace").splitlines():
        key = re.search(r"\s(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-\S+\s+([A-Za-z0-9+/]+=*)", row)
        if key and not row.startswith("#") and _fingerprint(key[1]) == fingerprint:
            namespaces = re.search(r'\bnamespaces="([^"]*)"', row)
            return row.split()[0].strip('"').split(",")[0], namespaces[1].split(",") if namespaces else []
    return "", []


def command(guest: str) -> str:
    """What a second person types to approve a guest's plan; the operator's own key would be refused."""
    return f"hikkoshi approve {guest} --key THEIR_KEY"


def check(home: Home, guest: str, plan: Plan | None, now: datetime | None = None) -> Check:
    """Whether somebody's approval of this very plan counts now. Every approval is looked at, and told of."""
    title, expected, remedy = "the plan is approved", "an approval of this plan", f"a second person: {command(guest)}"
    where = str(folder(home, guest))
    if plan is None:
        told = "there is no plan to approve"
        return Check(title, False, told, expected, f"run 20-plan, then {remedy}", where, later=True)
    try:
        found = list(judged(home, guest, plan, now))
    except HikkoshiError as e:
        told = "; ".join(f"{p.what}: {p.where}" for p in e.problems)
        return Check(title, False, told, expected, e.problems[0].remedy, where, later=True)
    good = sorted((a for a in found if not a.flaw), key=lambda a: (a.until, a.path), reverse=True)
    told = "; ".join(map(str, [*good[:1], *(a for a in found if a.flaw)])) or "nobody has approved it"
    return Check(title, bool(good), told, expected, remedy, where, later=True)


def judged(home: Home, guest: str, plan: Plan, now: datetime | None = None) -> Iterator[Approval]:
    """Every approval of a guest, and whether it counts for this plan at a time, which is now if not given.

    `BadInput` where that cannot be judged at all: for the site's lists, or a plan.json that is not this plan.
    """
    site, now = home.site(), (now or datetime.now(UTC)).astimezone(UTC)
    lists = trust(home, site)
    lists.check()
    written = home.folder(guest) / plan.filename
    if not written.is_file() or files.sha256(written) != plan.hash:
        words = "its SHA-256 is that of no plan as 20-plan writes it" if written.is_file() else "no such file"
        raise BadInput(Problem("plan.json is not the plan", str(written), words, plan.hash, "run 20-plan again"))
    yield from held_against(home, guest, plan.hash, now)


def held_against(home: Home, guest: str, plan: str, now: datetime) -> Iterator[Approval]:
    """The same for the plan with this hash, whichever is in the guest's folder by now."""
    site = home.site()
    lists = trust(home, site)
    lists.check()
    case = _Case(site, guest, plan, lists, home.path(site.signing.key), now.astimezone(UTC))
    for path in sorted(folder(home, guest).glob("*.txt")):
        yield case.judge(path)


@dataclass(frozen=True)
class Approver:
    """Whose key it is that a plan is to be approved with; `doubt` says why that would count for nothing here."""

    principal: str
    key: Path
    fingerprint: str
    doubt: str


def approver(home: Home, guest: str, key: Path) -> Approver:
    """Who approves a guest's plan with a key.

    `BadInput` for a key or list that is missing, `Refused` for a key that is not listed.
    """
    site, lists = home.site(), trust(home, home.site())
    lists.check()
    fingerprint = signature.fingerprint(key) if key.is_file() else ""
    if not fingerprint:
        raise BadInput(
            Problem(
                "the approver's key cannot be read",
                str(key),
                "not a key" if key.is_file() else "no such file",
                "an OpenSSH private key, or its .pub where an agent holds it",
                f"name it: hikkoshi approve {guest} --key FILE",
            )
        )
    who, namespaces = listed(lists.allowed, fingerprint)
    if "approval" not in namespaces:
        found = f"{who}, for {', '.join(namespaces)} only" if who else "not listed"
        raise _may_not(guest, key, fingerprint, lists, found)
    return Approver(who, key, fingerprint, _one_person(home.path(site.signing.key), site, lists, who, fingerprint))


def give(
    home: Home, guest: str, plan: Plan, page: str, by: Approver, *, ask: bool = False, now: datetime | None = None
) -> Approval:
    """Sign the page for this plan, and keep both. Nothing is kept of a signature that is not good: `Refused`.

    `ask`: a passphrase or a touch may be asked for on the terminal.
    """
    site, lists = home.site(), trust(home, home.site())
    approved = (now or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
    until = approved + timedelta(days=site.signing.valid_days)
    said = Statement(guest, line(site.name), line(site.vsphere.server), plan.hash, by.principal, approved, until, page)
    content = said.text().encode()
    if isinstance(flaw := parse(content), str):
        raise BadInput(Problem("no approval can be written", guest, flaw, "one that can be read again", "correct it"))
    path = folder(home, guest) / f"{approved:%Y%m%dT%H%M%SZ}-{re.sub(r'[^A-Za-z0-9@._+-]', '_', by.principal)}.txt"
    if path.exists():
        raise Refused(Problem("approved this very second already", str(path), remedy="nothing is left to do"))
    with temporary.folder("approve") as private:
        draft = private / "draft"
        draft.write_bytes(content)
        signed = signature.sign(draft, by.key, "approval", ask=ask).read_bytes()
        verdict = signature.verify(draft, lists, "approval", approved)
        if not verdict or verdict.signer != by.principal:
            found = verdict.flaw or f"it signs as {verdict.signer}"
            raise _may_not(guest, by.key, by.fingerprint, lists, found)
    files.write(signature.path_of(path), signed)  # first: a text under its name is always signed
    files.write(path, content)
    return Approval(path, said, until, verdict.key)


@dataclass(frozen=True)
class _Case:
    """What approvals are held against."""

    site: Site
    guest: str
    plan: str
    trust: Trust
    operator: Path
    now: datetime

    def judge(self, path: Path) -> Approval:
        signed = signature.path_of(path)
        if any(p.is_symlink() or (p.exists() and not p.is_file()) for p in (path, signed)):
            return Approval(path, flaw="not a file of its own, but a link or the like")
        try:
            content = path.read_bytes()  # once: what is judged is what was signed
            said = parse(content)
            verdict = signature.verify(path, self.trust, "approval", self.now, content)
        except OSError as e:
            return Approval(path, flaw=f"it cannot be read: {e.strerror}")
        if isinstance(said, str):
            return Approval(path, flaw=f"no approval: {said}")
        then = signature.verify(path, self.trust, "approval", said.approved, content)
        until = said.approved + min(said.expires - said.approved, timedelta(days=self.site.signing.valid_days))
        flaw = verdict.flaw or self._flaw(said, verdict, then, until)
        return Approval(path, said, until, verdict.key, flaw)

    def _flaw(self, said: Statement, verdict: signature.Verdict, then: signature.Verdict, until: datetime) -> str:
        """What is wrong with a statement that somebody on the list has signed."""
        server, site = line(self.site.vsphere.server), line(self.site.name)
        reasons = (
            (verdict.signer != said.approver, f"says that {said.approver} approves, but {line(verdict.signer)} signed"),
            (said.guest != self.guest, f"of another guest, {said.guest}"),
            (
                (said.site, said.server) != (site, server),
                f"of another site, {said.site} with {said.server}, not {site} with {server}",
            ),
            (said.plan != self.plan, f"outdated: of another plan, {said.plan[:16]}…, not {self.plan[:16]}…"),
            (said.approved > self.now, f"from the future: {said.approved:%Y-%m-%d %H:%M:%S} UTC; look at the clocks"),
            (until <= self.now, f"expired on {until:%Y-%m-%d at %H:%M} UTC"),
        )
        for bad, words in reasons:
            if bad:
                return words
        if not then:
            return f"when it was given: {then.flaw}"
        return _one_person(self.operator, self.site, self.trust, said.approver, verdict.key)


def _one_person(operator: Path, site: Site, lists: Trust, who: str, key: str) -> str:
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


def _may_not(guest: str, key: Path, fingerprint: str, lists: Trust, found: str) -> Refused:
    return Refused(
        Problem(
            "this key may not approve",
            str(lists.allowed),
            f"{key} ({fingerprint}): {found}",
            'PRINCIPAL namespaces="approval" KEYTYPE KEY, and the key not revoked',
            f"have it listed, or name an approver's key: hikkoshi approve {guest} --key FILE",
        )
    )


def _fingerprint(key: str) -> str:
    try:
        blob = base64.b64decode(key, validate=True)
    except binascii.Error:
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
