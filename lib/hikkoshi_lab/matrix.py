"""Every guest of the lab, booted before it is prepared and after, on VMware's hardware; one row each.

`python -m hikkoshi_lab.matrix [NAME …]`, which is `make guests`, prints the table, and ends with 1 if a row is not as it
has to be.
"""

import io
import json
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hikkoshi import tool
from hikkoshi.disk import digest
from hikkoshi.disk.origin import Origin, Part, contents
from hikkoshi.errors import BadInput, HikkoshiError, Problem, StepFailed
from hikkoshi.guest import appliance, device, preparation, prepared
from hikkoshi.guest.additions import tools
from hikkoshi.guest.additions.addition import Additions
from hikkoshi.guest.facts import GuestFacts
from hikkoshi.network.remedy import remedy
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.guest import Guest, ToolsWish
from hikkoshi.params.home import Home
from hikkoshi.rehearsal import accelerator, mounts, rehearsal
from hikkoshi.rehearsal.boot import TIMEOUT, boot
from hikkoshi.rehearsal.machine import Hardware, MachineNic
from hikkoshi.rehearsal.outcome import BootOutcome
from hikkoshi.secret import temporary
from hikkoshi_lab.debian import archives
from hikkoshi_lab.variants import VARIANTS, Variant

ETHTOOL = "/sbin/ethtool"
# where Tools come along, a script runs on the copy, and one once in the moved guest; what these say and end with has to be told
CHANGES = "#!/bin/sh\necho password=hunter2secret; echo prepared >/etc/motd; ls /boot/initrd* >/dev/null\n"
STARTS = '#!/bin/sh\ntest "$(cat /etc/motd)" = prepared || exit 4\nexit 3\n'
INSTALLER = """\
#!/bin/sh
[ "$*" = --help ] && echo "vmware-install.pl [--default] [--force-install]" && exit
[ "$*" = "--default --force-install" ]
"""  # stands for that of VMware's archive, with its options
PATIENCE = 900.0  # seconds for a boot: every guest of the lab comes to an end that can be told, on a loaded machine late
Inspection = Callable[[Origin], GuestFacts]
COLUMNS = ("guest", "what it is", "before", "after", "NICs right", "disks right", "LRO", "Tools", "prepared in")


@dataclass(frozen=True)
class MatrixRow:
    """One guest. `wrong` says what is not as it has to be; nothing if all is."""

    guest: str
    about: str
    before: str
    after: str
    nics: str
    disks: str  # what its fstab names, swap too, in use from where it was
    lro: str  # of its NICs after the boot; off where a remedy was written into its files, and where there are no vmxnet3
    tools: str  # what its init tells of VMware Tools; nothing where none came along
    seconds: float  # for looking at the guest and preparing it
    wrong: tuple[str, ...]

    def cells(self) -> tuple[str, ...]:
        """For the table."""
        spent = f"{self.seconds:.0f} s" if self.seconds else "–"
        return self.guest, self.about, self.before, self.after, self.nics, self.disks, self.lro, self.tools, spent


def row(variant: Variant, folder: Path, accelerated: str, inspect: Inspection | None = None) -> MatrixRow:
    """Boot the guest as it was under Xen, prepare it, boot it again, and prepare the result once more.

    `inspect` is for who has many guests' disks in one appliance.
    """
    guest = variant.image
    origin = origin_of(variant)
    machine = machine_of(variant)
    hashes = [digest.content(part.path) for part in origin.parts]
    limit = TIMEOUT if variant.waits else PATIENCE
    disk, *further = [one.parts[0].path for one in origin.disks]
    before = boot(disk, "raw", machine, folder, "before", probe=False, accelerator=accelerated, further=further, timeout=limit)
    told = variant.waits in (folder / "before.console.txt").read_text()
    wrong = [] if before.ending == variant.before and told else [f"before: {before.words}, and not {variant.before}"]
    begun, own, (names, *others) = time.monotonic(), GuestFolder(folder / guest.name), _called(origin)
    try:
        facts = inspect(origin) if inspect else appliance.inspect(origin, names, others, accelerator=accelerated)
        added = _additions(variant, facts, folder)
        plan = planned(variant, facts, added)
    except BadInput as e:
        refused = "refused: " + e.problems[0].remedy.split(";")[0]
        wrong += [] if variant.refused and variant.refused in refused else [str(e)]
        wrong += _changed(origin, hashes)
        return MatrixRow(guest.name, variant.about, before.ending, refused, "–", "–", "–", "–", 0, tuple(wrong))
    surveyed = digest.together([content.digest for content in contents(origin)])
    done = prepared.start(origin, own, plan, surveyed, accelerator=accelerated, names=(names, *others), root=folder)
    seconds = time.monotonic() - begun
    again = planned(variant, done.facts, added)
    if again.edits or again.commands or again.additions:
        wrong.append(f"a second preparation would change {', '.join(e.path for e in again.edits)} {again.commands}")
    copies = prepared.copies_of(own, origin)
    if variant.lro_off:
        root = next(fs for fs in _file_systems(copies[0]) if _content(fs, "/etc/fstab"))
        for f in variant.lro_off:
            _write(root, f.path, remedy.edited(f, _content(root, f.path), ETHTOOL), folder)
    machine = machine.model_copy(update={"as_vmware": bool(variant.tools)})
    after = boot(
        copies[0], "raw", machine, folder, "after", probe=True, accelerator=accelerated, further=copies[1:], timeout=PATIENCE
    )
    for copy in copies:
        copy.unlink()
    right = sum(not rehearsal.faults(nic, machine, after) for nic in machine.nics)
    wrong += [f"{nic.name}: {fault}" for nic in machine.nics for fault in rehearsal.faults(nic, machine, after)]
    wrong += [] if after.ending == "login" else [f"after: {after.words}"]
    wrong += _changed(origin, hashes)
    lro = ", ".join(sorted({nic.lro or "not told" for nic in after.nics}))
    wrong += [] if lro == ("off" if variant.lro_off or variant.nic_model != "vmxnet3" else "on") else [f"LRO is {lro}"]
    wanted = mounts.planned(done.facts)
    lost = [f"{m.device} ({m.point}) {fault}" for m in wanted if (fault := mounts.fault(m, after))]
    wrong += lost or ([] if wanted else ["nothing is to be mounted"])
    nics, disks = f"{right}/{len(machine.nics)}", f"{len(wanted) - len(lost)}/{len(wanted)}"
    tools_seen = _tools(after)
    by = {"open-vm-tools": "started", "archive": "installed", "": "–"}[variant.tools]
    wrong += [] if tools_seen == by else [f"Tools: {after.tools}, failed: {after.failed}"]
    first = (after.first_state, [(s.name, s.status) for s in after.first])
    installed = [("00-vmware-tools.sh", 0)] if variant.tools == "archive" else []
    wanted_first = ("complete", [*installed, ("01-starts.sh", 3)]) if variant.tools else (None, [])
    wrong += [] if first == wanted_first else [f"first start: {first}"]
    return MatrixRow(guest.name, variant.about, before.ending, after.ending, nics, disks, lro, tools_seen, seconds, tuple(wrong))


def origin_of(variant: Variant) -> Origin:
    """The guest's disks, or the partitions of its only one by their numbers."""
    found = sorted(variant.disks(variant.image).items())
    if variant.image.layout == "disks":
        return Origin(parts=tuple(Part(number=0, path=path, disk=n, vdev=vdev) for n, (vdev, path) in enumerate(found)))
    return Origin(parts=tuple(Part(number=int(vdev[4:] or 0), path=path) for vdev, path in found))


def _called(origin: Origin) -> tuple[tuple[str, ...], ...]:
    """What Linux may call each disk, where the guest has several; of an only one its fstab tells."""
    return tuple(device.inside(p.vdev) for p in origin.parts) if len(origin.disks) > 1 else ((),)


def machine_of(variant: Variant) -> Hardware:
    """The machine that it is to become."""
    nics = tuple(
        MachineNic(name=f"{variant.image.nic_names}{n}", mac=nic.mac, address=str(nic.address))
        for n, nic in enumerate(variant.image.nics)
    )
    model, memory = variant.nic_model, variant.image.memory_mb
    firmware = variant.image.firmware
    return Hardware(controller=variant.controller, nic_model=model, memory_mb=memory, vcpus=1, nics=nics, firmware=firmware)


def _changed(origin: Origin, hashes: list[str]) -> list[str]:
    return [] if hashes == [digest.content(part.path) for part in origin.parts] else ["the source was changed"]


def _additions(variant: Variant, facts: GuestFacts, home: Path) -> Additions:
    guest = Guest(name=variant.image.name, dom0="lab", config=Path(variant.image.name), nics=())
    if variant.tools:
        (home / "changes.sh").write_text(CHANGES)
        (home / "starts.sh").write_text(STARTS)
        scripts = {"prepare": (Path("changes.sh"),), "first_start": (Path("starts.sh"),)}
        guest = guest.model_copy(update={"tools": _wish(variant, home), **scripts})
    return tools.of(Home(home), guest, facts)


def _wish(variant: Variant, home: Path) -> ToolsWish:
    if variant.tools != "archive":
        return ToolsWish(packages=tuple(archives.there(variant.tools)))
    name = Path("VMwareTools-10.3.26-1.tar.gz")
    with tarfile.open(home / name, "w:gz") as tar:
        member = tarfile.TarInfo(tools.INSTALLER)
        member.size, member.mode = len(INSTALLER), 0o755
        tar.addfile(member, io.BytesIO(INSTALLER.encode()))
    return ToolsWish(archive=name)


def _tools(after: BootOutcome) -> str:
    """What became of VMware Tools: on QEMU packages start, and end at once; an archive's installer has run."""
    seen = after.tools
    if seen is None:
        return "installed" if any((s.name, s.status) == ("00-vmware-tools.sh", 0) for s in after.first) else "–"
    failed = any("vm" in unit or "vgauth" in unit for unit in after.failed)
    return "started" if seen.enabled and seen.condition and seen.started and not failed else "not started"


def planned(variant: Variant, facts: GuestFacts, added: Additions) -> preparation.Preparation:
    """What is to be done to the guest's copy."""
    macs = {f"{variant.image.nic_names}{n}": nic.mac for n, nic in enumerate(variant.image.nics)}
    return preparation.plan(facts, controller=variant.controller, nic_model=variant.nic_model, macs=macs, additions=added)


def _write(file_system: str, path: str, text: str, folder: Path) -> None:
    """Write a file, an executable one too, into an ext file system; `folder` is for a draft.

    By debugfs, which needs no appliance. It ends with 0 whatever happens, so what was written is read again.
    """
    with tempfile.NamedTemporaryFile("w", dir=folder) as draft:
        draft.write(text)
        draft.flush()
        os.fchmod(draft.fileno(), 0o755 if path.startswith("/sbin/") else 0o644)
        tool.run(["debugfs", "-w", "-f", "-", file_system], stdin=f"rm {path}\nwrite {draft.name} {path}\n")
    if _content(file_system, path) != text:
        raise StepFailed(
            Problem(code="lab-file-not-written", what="a file of a lab's guest was not written", where=f"{file_system}: {path}")
        )


def _file_systems(disk: Path) -> list[str]:
    """Each partition of a disk, as debugfs names it."""
    table = json.loads(tool.run(["sfdisk", "--json", disk]).stdout)["partitiontable"]
    return [f"{disk}?offset={part['start'] * table.get('sectorsize', 512)}" for part in table["partitions"]]


def _content(file_system: str, path: str) -> str:
    """A file's text; empty where it is not there, or where this is no ext file system."""
    return tool.run(["debugfs", "-R", f"cat {path}", file_system], ok=(0, 1)).stdout


def main(names: Sequence[str]) -> int:
    """Print the table; 1 if a row is wrong."""
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        print(f"no such guest: {', '.join(unknown)}; there are {', '.join(VARIANTS)}", file=sys.stderr)
        return 2
    accelerated, failed = accelerator.probe().name, 0

    def one(name: str) -> MatrixRow:
        with temporary.folder("matrix") as folder:
            try:
                return row(VARIANTS[name], folder, accelerated)
            except HikkoshiError as e:
                return MatrixRow(name, VARIANTS[name].about, "", "", "", "", "", "", 0, (str(e),))

    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    with ThreadPoolExecutor(2) as pool:  # a boot under emulation keeps one core busy
        for made in pool.map(one, names or VARIANTS):
            print(f"| {' | '.join(made.cells())} |", flush=True)
            for words in made.wrong:
                print(f"  WRONG: {words}", file=sys.stderr, flush=True)
            failed += bool(made.wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
