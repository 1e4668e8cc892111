"""What `hikkoshi init` has to know of the Dom-0s and the vSphere: by its options, or asked for."""

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from hikkoshi.cli import terminal
from hikkoshi.cli.questions import Questions
from hikkoshi.errors import Problem
from hikkoshi.params.forms import NAME, NAME_WORDS
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0, VSphere
from hikkoshi.sitefolder import folder, signers
from hikkoshi.sitefolder.signers import PublicKey
from hikkoshi.vsphere import tls
from hikkoshi.vsphere.session import Session

_DOM0 = "NAME=here, NAME=FOLDER with its files, or NAME=ssh:[user@]host[:port]"
_TRUST = "the file of the authority's certificate (PEM), or the SHA-256 fingerprint of the server's own"
_KEY = "your public key (.pub); ssh-keygen -t ed25519 makes one"
_SERVER = "a host, or host:port; where you have no account on the vSphere, --contractor in its place"
_WHO = "who runs the vSphere and gives you no account, by name and telephone"
_WHOSE = "Does a contractor run the vSphere, with no account for you? Then their name and telephone"
_NO = ("none", "no", "n")
_PASSWORD = "env:NAME, file:PATH (mode 0600) or keyring:SERVICE/USER; never the password itself"


@dataclass(frozen=True)
class VSphereOptions:
    """The options about vSphere."""

    vcenter: str
    user: str
    password: str
    ca: str
    sha256: str
    datacenter: str
    cluster: str
    datastore: str
    contractor: str = ""


def dom0s(questions: Questions, written: Sequence[str]) -> dict[str, Dom0]:
    """The Dom-0s, by their names."""
    found: dict[str, Dom0] = {}

    def read(typed: str) -> bool:
        name, dom0 = _dom0(typed)
        if name in found:
            raise ValueError(f"{name} is named twice")
        found[name] = dom0
        return True

    if written or not questions.asks:
        for one in written or [""]:
            questions.one("--dom0", one, read, "", _DOM0)
        return found
    questions.one("--dom0", "", read, f"A Dom-0 ({_DOM0})", _DOM0)
    while questions.one(
        "--dom0", "", lambda typed: typed.lower() not in _NO and read(typed), "One more Dom-0", _DOM0, default="none"
    ):
        pass
    return found


def _dom0(written: str) -> tuple[str, Dom0]:
    name, equals, where = written.partition("=")
    if not equals or not where:
        raise ValueError(f"write {_DOM0}")
    if not re.fullmatch(NAME.strip("^$"), name, re.ASCII):
        raise ValueError(f"{name!r} is not {NAME_WORDS}")
    try:
        if where.startswith("ssh:"):
            return name, Dom0(ssh=where.removeprefix("ssh:").removeprefix("//"))
        root = Path("/") if where == "here" else folder.named(where)
        if not root.is_dir():  # now, while it can be typed again; not after all the other questions
            raise ValueError(f"there is no folder {root}")
        return name, Dom0(root=root)
    except ValidationError as e:
        raise ValueError(str(e.errors()[0]["msg"])) from None


def vsphere(home: Home, questions: Questions, given: VSphereOptions) -> VSphere | None:
    """The vSphere, without the place in it; None where something is wrong or missing. A contractor's has none for us."""
    if given.contractor or (questions.asks and not given.vcenter):
        whose = questions.one("--contractor", given.contractor, partial(_contractor, given), _WHOSE, _WHO, default="none")
        if whose is not False:
            return whose

    def server(typed: str) -> str:
        host, _, port = typed.partition(":")
        if not re.fullmatch(r"[^:/\s]+(:\d{1,5})?", typed) or int(port or 443) not in range(1, 65536):
            raise ValueError("write a host, or host:port")
        try:
            host.encode("idna")
        except UnicodeError:
            raise ValueError(f"{host!r} is no name of a host") from None
        return typed

    name = questions.one("--vcenter", given.vcenter, server, "The vCenter (host, or host:port)", _SERVER)
    user = questions.one("--user", given.user, str, "Its user", "a user of vSphere")
    where = f"Where its password is ({_PASSWORD})"
    password = questions.one("--password-from", given.password, partial(_reference, home), where, _PASSWORD)
    trust = _trust(questions, given, name)
    if name is None or user is None or password is None or trust is None:
        return None
    try:
        return VSphere(server=name, user=user, password=password, **trust, datacenter="", cluster="", datastore="")
    except ValidationError as e:
        found = ", ".join(f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in e.errors())
        questions.problems.append(
            Problem(
                code="option-unusable",
                what="an option cannot be used",
                where="--vcenter, --user, --sha256",
                found=found,
                expected="what params/site.yml takes",
                remedy="correct it",
            )
        )
        return None


def _contractor(given: VSphereOptions, typed: str) -> VSphere | Literal[False]:
    """The vSphere of somebody else; False for a no."""
    if typed.lower() in _NO:
        return False
    if typed.lower() in ("yes", "y"):
        raise ValueError("write their name and telephone")
    others = {**asdict(given), "contractor": "", "password": ""}
    more = [key for key, value in others.items() if value] + ["password-from"] * bool(given.password)
    if more:
        raise ValueError(f"nobody logs in to it: leave {', '.join(f'--{key}' for key in more)} out")
    return VSphere(handover=True, contractor=typed)


def public_key(home: Home, questions: Questions, given: str) -> PublicKey | None:
    """The operator's: one that is given, or that was made here before; None where one is to be made."""
    own = home.root / signers.OWN.with_suffix(".pub")
    if own.is_file() and not given:
        return signers.taken(own, signers.OWN.with_suffix(".pub"))

    def read(typed: str) -> PublicKey | None:
        if typed == "new" and not questions.asks:
            raise ValueError("nobody can be asked for the passphrase of a new one")
        if typed == "new" and os.path.lexists(own.with_suffix("")):
            raise ValueError(f"{own.with_suffix('')} is there already, without its .pub; ssh-keygen -y tells that")
        return signers.taken(folder.named(typed)) if typed != "new" else None

    if questions.asks:
        terminal.say("Your key signs the records. A new one is made here; ssh-keygen asks for its passphrase.")
    return questions.one("--key", given, read, "Your public key (.pub), or new", _KEY, default="new")


def _reference(home: Home, typed: str) -> str:
    """Where a password is, as params/site.yml has it; `BadInput` where it cannot be read there."""
    kind, colon, rest = typed.partition(":")
    if kind == "file" and colon:
        typed = f"file:{folder.named(rest)}"
    home.secret(typed)
    return typed


def _trust(questions: Questions, given: VSphereOptions, server: str | None) -> dict[str, Any] | None:
    """By what the server is known: `ca` or `sha256`."""

    def read(typed: str) -> dict[str, Any]:
        if given.ca and given.sha256:
            raise ValueError("--sha256 is given too: give one of the two")
        if typed.lower() == "yes" and shown:
            return {"sha256": shown}
        path = folder.named(typed)
        if not path.is_file():
            raise ValueError(f"no such file: {path}")
        return {"ca": path}

    if given.sha256 and not given.ca:
        return {"sha256": given.sha256}
    shown = _shown(server) if server and not given.ca else ""
    if shown and questions.asks:
        terminal.say(f"Its certificate has the SHA-256 fingerprint\n  {shown}\nCompare it on the server's own console.")
    question = "The certificate is that one (yes), or is signed by the authority in this file"
    told = f"the server shows {shown}; compare it on the server's own console" if shown else ""
    found = questions.one("--ca", given.ca, read, question, _TRUST, found=told)
    if found and questions.typed[-1:] == ["yes"]:
        questions.typed[-2:] = ["--sha256", shown]
    return found


def _shown(server: str) -> str:
    """The fingerprint of the certificate that a server shows; empty where it shows none: why is told when it is asked more."""
    host, _, port = server.partition(":")
    try:
        return tls.shown(host, int(port or 443))
    except (OSError, ValueError):
        return ""


def place(v: Session, questions: Questions, given: VSphereOptions, site: VSphere) -> tuple[VSphere, Any]:
    """The vSphere with the place for new machines, and its datacenter."""

    def names(kind: str, root: Any = None) -> dict[str, Any]:
        return {
            str(p["name"]): thing for thing, p in sorted(v.collect(kind, ["name"], root).items(), key=lambda x: str(x[1]["name"]))
        }

    datacenters = names("Datacenter")
    chosen = questions.among("--datacenter", given.datacenter, list(datacenters), "datacenter")
    if not chosen:
        return site, None
    root = datacenters[chosen]
    cluster = questions.among("--cluster", given.cluster, list(names("ComputeResource", root)), "cluster")
    datastore = questions.among("--datastore", given.datastore, list(names("Datastore", root)), "datastore")
    return site.model_copy(update={"datacenter": chosen, "cluster": cluster, "datastore": datastore}), root
