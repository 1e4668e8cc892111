"""Who signs here: the operator, with the key that seals what is carried out. Found by a trial, since a name proves nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime

from hikkoshi.approval import approver, signature
from hikkoshi.check import Check
from hikkoshi.errors import HikkoshiError
from hikkoshi.params.home import Home
from hikkoshi.run.step import ROLLBACK
from hikkoshi.secret import temporary


@dataclass(frozen=True)
class Signatory:
    """A principal with the fingerprint of the key that was tried; or nobody, and why."""

    name: str = ""
    key: str = ""
    why: str = ""

    def check(self) -> Check:
        """The same as a check: without it nothing that users notice is begun."""
        title, expected = "whoever carries this out can sign for it", 'a key at hand, listed with namespaces="evidence"'
        remedy = (
            "a key with a passphrase: ssh-add it, and start this where the agent is known; else correct `signing` in "
            f"params/site.yml, or have the key listed. `hikkoshi doctor` tries it again. The way back, {ROLLBACK}, needs none"
        )
        return Check(
            code="operator-signs",
            title=title,
            ok=bool(self.name),
            found=self.why or f"{self.name}, {self.key}",
            expected=expected,
            remedy=remedy,
            later=True,
            facts={"name": self.name, "key": self.key} if self.name else {},
        )


def find(home: Home) -> Signatory:
    """Sign a scrap of text with the site's key, and ask the site's lists whose signature that is."""
    try:
        site = home.site()
        trust = approver.trust(home, site)
        trust.check()
        with temporary.folder("seal") as private:
            trial = private / "trial"
            trial.write_text("whose signature is this?\n")
            signature.sign(trial, home.path(site.signing.key), "evidence")
            found = signature.verify(trial, trust, "evidence", datetime.now(UTC))
    except OSError as e:
        return Signatory(why=f"nothing can be signed: {e.filename or 'a temporary file'}: {e.strerror}")
    except HikkoshiError as e:
        problem = e.problems[0]
        return Signatory(why=f"{problem.what}: {problem.where}" + (f", {problem.found}" if problem.found else ""))
    return Signatory(found.signer, found.key) if found else Signatory(why=f"{found.flaw}: {site.signing.key}")


def warning(home: Home, step: str) -> str:
    """What has to be known before something is sealed unsigned: it stays so. Empty where somebody can sign.

    Empty for the rollback, too: the way back waits for no key.
    """
    why = find(home).why if step != ROLLBACK.id else ""
    return (
        f"\nNOBODY CAN SIGN HERE: {why}. This run's record will be UNSIGNED for good, and `hikkoshi verify` ends with 1 for "
        "it, until a person acknowledges it (hikkoshi acknowledge). Stop here, see `signing` in params/site.yml, then begin anew"
        if why
        else ""
    )
