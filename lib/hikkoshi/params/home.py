"""Where things are: the folder with params/ and outputs/, and what is read from it.

A misspelt key, a wrong type or a value out of range is an error that names file, line, what was found, what was expected
and what to do; all errors of a file are told at once.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hikkoshi import files
from hikkoshi.errors import BadInput, Problem, nearest
from hikkoshi.params import folder, identity, yamlfile
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.forms import NAME_WORDS, TAKEN, can_be_guest
from hikkoshi.params.guest import Guest
from hikkoshi.params.site import Site
from hikkoshi.secret import reference
from hikkoshi.secret.reference import Secret


@dataclass(frozen=True)
class Home:
    """The folder that holds params/ and outputs/; relative paths in parameter files start here."""

    root: Path

    @classmethod
    def find(cls, named: str = "", start: Path | None = None) -> "Home":
        """The folder that is named here or by HIKKOSHI_HOME, exactly; else the nearest upwards with params/site.yml.

        `start` is where the way upwards begins: the current folder.
        """
        named = named or os.environ.get("HIKKOSHI_HOME", "")
        begin = Path(named or start or Path.cwd()).expanduser().absolute()
        for place in (begin,) if named else (begin, *begin.parents):
            if (place / "params" / "site.yml").is_file():
                return cls(place.resolve())
        raise BadInput(
            Problem(
                code="no-parameters",
                what="no parameters found",
                where=str(begin),
                found="no params/site.yml" if begin.is_dir() else "no such folder",
                expected="a folder with params/site.yml" + ("" if named else ", here or above"),
                remedy="change into that folder; name it by HIKKOSHI_HOME or the parameter home; or make one by `hikkoshi init`",
            )
        )

    @property
    def outputs(self) -> Path:
        """Where runs, journals and reports are kept."""
        return self.root / "outputs"

    def identity(self) -> str:
        """UUID of this site folder, which every machine that it makes carries; see `hikkoshi.params.identity`."""
        return identity.of(self.outputs)

    def folder(self, guest: str) -> GuestFolder:
        """The guest's folder in outputs/; `BadInput` for what can be no guest's name, and might lead elsewhere."""
        if not can_be_guest(guest):
            raise BadInput(_no_name(guest, self.guest_names()))
        return folder.of(self.outputs, guest)

    def folders(self) -> list[GuestFolder]:
        """The folder of every guest that has one, with parameters or without, sorted."""
        return list(folder.all_in(self.outputs))

    @property
    def reports(self) -> Path:
        """The folder of all reports."""
        return self.outputs / "reports"

    def report(self, guest: str) -> Path:
        """The guest's report for a browser; its PDF is beside it."""
        return self.reports / f"{guest}.html"

    @property
    def handovers(self) -> Path:
        """The folder of all that is handed to others."""
        return self.outputs / "handover"

    @property
    def fleet(self) -> Path:
        """The folder in which a fleet's run and whoever stops it find each other."""
        return self.outputs / "fleet"

    def records(self, guest: str = "") -> Path:
        """The folder of a guest's sealed records; of everybody's where none is named."""
        return self.outputs / "records" / guest

    def guest_file(self, guest: str) -> Path:
        """The guest's parameters, params/guests/NAME.yml."""
        return self.root / "params" / "guests" / f"{guest}.yml"

    @property
    def site_file(self) -> Path:
        """The site's parameters, params/site.yml."""
        return self.root / "params" / "site.yml"

    def path(self, written: Path) -> Path:
        """A path as written in a parameter file, made absolute."""
        return self.root / written.expanduser()

    def inputs(self, guest: str) -> dict[str, str]:
        """{name: SHA-256} of what a run of a guest is made from: plan and parameter files; of those that are there."""
        names = {
            GuestFolder.plan: self.folder(guest).plan,
            "params/site.yml": self.site_file,
            f"params/guests/{guest}.yml": self.guest_file(guest),
        }
        return {name: files.sha256(path) for name, path in names.items() if path.is_file()}

    def site(self, guest: str = "") -> Site:
        """Read params/site.yml; for a guest, its `vsphere` is the one that the guest goes to."""
        site = yamlfile.read(Site, self.site_file)
        return site.towards(self.guest(guest).vsphere) if guest and site.vspheres else site

    def guest_names(self) -> list[str]:
        """Names of all guests that have a parameter file, sorted. A file whose name can be no guest's is left out."""
        return [name for name in self._stems() if can_be_guest(name)]

    def misnamed(self) -> list[str]:
        """Parameter files that no guest can have, for their names; without `.yml`."""
        return [name for name in self._stems() if not can_be_guest(name)]

    def _stems(self) -> list[str]:
        return sorted(p.stem for p in (self.root / "params" / "guests").glob("*.yml"))

    def guest(self, name: str) -> Guest:
        """Read params/guests/NAME.yml; the name inside has to be the same, and its Dom-0 and segments the site's."""
        if not can_be_guest(name):
            raise BadInput(_no_name(name, self.guest_names()))
        path = self.guest_file(name)
        if not os.path.lexists(path):
            raise BadInput(
                Problem(
                    code="guest-unknown",
                    what="no such guest",
                    where=str(path),
                    found=f"{name!r}",
                    expected="one of: " + (", ".join(self.guest_names()) or "(no guest has a file yet)"),
                    remedy=nearest(name, self.guest_names()) or f"write {path.name}, or correct the name",
                )
            )
        return self.guest_of(name, yamlfile.text(path))

    def guest_of(self, name: str, text: str) -> Guest:
        """What a text would be as a guest's parameter file; `BadInput` for all that is wrong with it."""
        path = self.guest_file(name)
        guest = yamlfile.checked(Guest, path, text)
        _cross_check(guest, self.site(), path)
        return guest

    def parameters(self, guest: str) -> tuple[Guest, Site]:
        """A guest's parameters and the site's; `BadInput` lists all that is wrong with either file."""
        problems: list[Problem] = []
        try:
            site = self.site()
        except BadInput as e:
            problems += e.problems
        try:
            found = self.guest(guest)
        except BadInput as e:
            problems += [p for p in e.problems if p not in problems]
        if problems:
            raise BadInput(*problems)
        return found, site.towards(found.vsphere)

    def secret(self, written: str) -> Secret:
        """The secret that a reference points to; `BadInput` says what is wrong with the reference or the place."""
        return Secret(written, reference.value(written, self.path))

    def secrets(self) -> list[Secret]:
        """Every secret that the site's parameters point to, as far as it can be read now."""
        found = []
        for written in self._references():
            try:
                found.append(self.secret(written))
            except BadInput:
                continue  # what cannot be read here cannot be read, and told, by the kernel
        return found

    def unread_secrets(self) -> list[str]:
        """References of the site whose secret cannot be read now: nothing can be searched for what they point to."""
        return sorted(set(self._references()) - {s.name for s in self.secrets()})

    def _references(self) -> list[str]:
        return list(reference.within(self.site().model_dump(mode="json")))


def _no_name(name: str, known: Sequence[str]) -> Problem:
    return Problem(
        code="guest-name-malformed",
        what="this can be no guest's name",
        found=repr(name),
        expected=f"{NAME_WORDS}, and not {', '.join(TAKEN)}",
        remedy=nearest(name, known) or "name the guest as its file params/guests/NAME.yml, without folders",
    )


def _cross_check(guest: Guest, site: Site, path: Path) -> None:
    problems = []
    if guest.name != path.stem:
        problems.append(
            Problem(
                code="guest-name-differs",
                what="the name inside differs from the file's",
                where=str(path),
                found=guest.name,
                expected=path.stem,
                remedy="make the two the same",
            )
        )
    if guest.dom0 not in site.dom0s:
        problems.append(
            Problem(
                code="dom0-unknown",
                what="unknown Dom-0",
                where=str(path),
                found=guest.dom0,
                expected="one of: " + ", ".join(site.dom0s),
                remedy="add it to params/site.yml",
            )
        )
    if guest.vsphere is not None and guest.vsphere not in site.vspheres:
        problems.append(
            Problem(
                code="vsphere-unknown",
                what="unknown vSphere",
                where=f"{path}: vsphere",
                found=guest.vsphere,
                expected="one of: " + (", ".join(site.vspheres) or "(the site has no vspheres)"),
                remedy=nearest(guest.vsphere, list(site.vspheres))
                or "add it to `vspheres` of params/site.yml, or leave it out for the site's `vsphere`",
            )
        )
    named = [(f"nics.{n} ({nic.mac})", nic.segment) for n, nic in enumerate(guest.nics)]
    named += [("measurement.segments", name) for name in (guest.measurement.segments if guest.measurement else ())]
    for key, name in named:
        if name not in site.segments:
            problems.append(
                Problem(
                    code="segment-unknown",
                    what="unknown segment",
                    where=f"{path}: {key}",
                    found=name,
                    expected="one of: " + ", ".join(site.segments),
                    remedy=nearest(name, list(site.segments)) or "add it to params/site.yml",
                )
            )
    if problems:
        raise BadInput(*problems)
