"""The worker on real disks: the demo guest is inspected and prepared, hostile and unusual disks are refused."""

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliances import one_appliance
from ext import debugfs
from hikkoshi import tool
from hikkoshi.approval.plan import Plan
from hikkoshi.disk import digest
from hikkoshi.disk.origin import Origin
from hikkoshi.errors import BadInput, StepFailed
from hikkoshi.guest import appliance, preparation, prepared
from hikkoshi.guest.additions import addition
from hikkoshi.guest.additions.addition import Additions
from hikkoshi.guest.facts import GuestFacts
from hikkoshi.guest.preparation import Preparation
from hikkoshi.guest.prepared import Prepared
from hikkoshi.guest.survey import Survey
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.home import Home
from hikkoshi_lab import image, lvm, userland

pytestmark = pytest.mark.needs("qemu-system-x86_64", "debugfs", "mke2fs", "cpio")
MIB = 1 << 20
ONE = replace(image.IDP, layout="disk")
PLACES = ("70-persistent-net.rules", "z25_persistent-net.rules")


@dataclass
class Case:
    facts: GuestFacts
    plan: Preparation
    folder: GuestFolder
    result: Prepared

    @property
    def copy(self) -> Path:
        return self.folder.prepared_copy


def fingerprint(disk: Path) -> tuple[str, int]:
    """Content digest, and time of change in nanoseconds."""
    return digest.content(disk), disk.stat().st_mtime_ns


def decided(facts: GuestFacts) -> Preparation:
    macs = {f"eth{n}": nic.mac for n, nic in enumerate(image.IDP.nics)}
    return preparation.plan(facts, controller="pvscsi", nic_model="vmxnet3", macs=macs)


@pytest.fixture(scope="session")
def source() -> Path:
    """The first disk of the lab's idp, as it was before anybody looked at it."""
    return image.build(image.IDP)


@pytest.fixture(scope="session")
def whole() -> Path:
    """The same guest on one disk."""
    return image.build(ONE)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Path]]]:
    """A worker whose appliance has all of `DISKS` in it, and these by their names."""
    folder = tmp_path_factory.mktemp("odd")
    disks = {}
    for name, make in DISKS.items():
        (folder / name).mkdir()
        disks[name] = make(folder / name)
    with one_appliance(list(disks.values()), folder) as worker:
        yield worker, disks


@pytest.fixture
def look(many: tuple[Path, dict[str, Path]], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], GuestFacts]:
    """Inspects one of `DISKS` by its name."""
    monkeypatch.setattr(appliance, "WORKER", many[0])
    return lambda name: appliance.inspect(Origin.whole(many[1][name]))


@pytest.fixture(scope="module")
def case(moved: Home) -> Case:
    """The lab's idp, inspected and prepared."""
    folder = moved.folder("idp")
    return Case(Survey.load(folder).guest, Plan.load(folder).preparation, folder, Prepared.load(folder))


def real(text: str) -> str:
    """A text with the lab's guests' passwords in their places."""
    for n, secret in enumerate(userland.SECRETS, 1):
        text = text.replace(f"HIKKOSHI-SECRET-{n:04d}", secret)
    return text


def holders(path: Path) -> list[str]:
    """Programs that have `path`, or a file that begins with its name, open or on their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            opened = [str(fd.readlink()) for fd in (process / "fd").iterdir()]
            if any(o.startswith(str(path)) for o in opened) or str(path) in (process / "cmdline").read_text():
                found.append(process.name)
        except OSError:
            continue
    return [p for p in found if p != str(os.getpid())]


def test_the_guest_is_known_for_what_it_is(case: Case) -> None:
    facts = case.facts
    assert (facts.distribution, facts.release, facts.arch) == ("centos", "5.11", "x86_64")
    assert facts.default_kernel == 0
    assert [k.xen_only for k in facts.kernels] == [True, False]
    assert [p.mountpoint for p in facts.partitions] == ["/boot", "/", "swap", "/srv"]
    assert facts.interfaces[0].mac == image.IDP.nics[0].mac


def test_the_source_is_not_changed_in_one_byte(case: Case) -> None:
    parts = [part.path for part in Plan.load(case.folder).source.parts]
    assert [fingerprint(path) for path in parts] == [fingerprint(made) for made in image.disks(image.IDP).values()]


def test_every_promise_is_kept_and_a_second_run_finds_it_already_done(case: Case) -> None:
    plan = Plan.load(case.folder)
    assert prepared.complete(case.folder, plan, plan.source)
    assert [c.title for c in prepared.verify(case.folder, case.plan, disks=3) if not c] == []


def test_a_prepared_guest_would_not_be_changed_again(case: Case) -> None:
    again = decided(case.result.facts)
    assert again.edits == ()
    assert again.kernel == case.plan.kernel


def test_nothing_is_left_beside_the_copy(case: Case) -> None:
    assert {p.name for p in case.copy.parent.iterdir()} == {
        f"idp{n}.{kind}" for n in ("", "-2", "-3") for kind in ("img", "vmdk")
    }
    assert holders(case.copy) == []


def test_e2fsprogs_reads_the_new_files_and_the_kept_ones(case: Case, source: Path) -> None:
    for edit in case.plan.edits:
        partition, path = (1, edit.path.removeprefix("/boot")) if edit.path.startswith("/boot/") else (2, edit.path)
        before = real(case.facts.texts[edit.path])
        assert debugfs(case.copy, f"cat {path}", partition) == real(edit.after or "")
        assert debugfs(case.copy, f"cat /.pre-migration{edit.path}", 2) == before
        assert debugfs(source, f"cat {path}", partition) == before


def test_the_guests_passwords_are_in_its_files_and_in_nothing_that_is_kept(case: Case) -> None:
    kept = case.facts.model_dump_json() + case.plan.model_dump_json() + case.result.model_dump_json()
    kept += "".join(diff for _, diff in preparation.diffs(case.plan, case.facts))
    for secret in userland.SECRETS:
        assert secret not in kept
    assert case.facts.secrets == len(userland.SECRETS)
    menu, table = debugfs(case.copy, "cat /grub/grub.conf", 1), debugfs(case.copy, "cat /etc/fstab")
    assert (userland.SECRETS[0] in menu, userland.SECRETS[1] in table) == (True, True)
    assert userland.SECRETS[2] in debugfs(case.copy, "cat /etc/NetworkManager/system-connections/office")


def test_owner_and_mode_of_changed_files_stay(case: Case, source: Path) -> None:
    def owner_and_mode(disk: Path, path: str) -> list[str]:
        words = debugfs(disk, f"stat {path}").split()
        return [words[words.index(key) + 1] for key in ("Mode:", "User:", "Group:")]

    for path in ("/etc/fstab", "/etc/securetty", "/etc/inittab"):
        assert owner_and_mode(case.copy, path) == owner_and_mode(source, path)


def test_cpio_finds_the_drivers_in_the_new_initrd_and_not_in_the_old_one(case: Case, tmp_path: Path) -> None:
    listed = {}
    for name, path, partition in (
        ("new", case.plan.initrd.removeprefix("/boot"), 1),
        ("kept", f"/.pre-migration{case.plan.initrd}", 2),
    ):
        file = tmp_path / name
        debugfs(case.copy, f"dump {path} {file}", partition)
        archive = subprocess.run(["gzip", "-dc", str(file)], capture_output=True, check=True).stdout
        listed[name] = subprocess.run(["cpio", "-t"], input=archive, capture_output=True, check=True).stdout.decode()
    for module in ("vmw_pvscsi.ko", "mptspi.ko", "mptsas.ko", "sd_mod.ko"):
        assert module in listed["new"]
        assert module not in listed["kept"]


KILLED = """
import sys
from pathlib import Path
from hikkoshi.disk.origin import Origin
from hikkoshi.guest import prepared
from hikkoshi.guest.preparation import Preparation
from hikkoshi.params.folder import GuestFolder
folder = GuestFolder(sys.argv[1])
plan = Preparation.model_validate_json(folder.plan.read_text())
say = lambda done, total, text: print(text, flush=True)
prepared.start(Origin.whole(Path(sys.argv[2])), folder, plan, sys.argv[3], say)
"""


def test_killed_in_the_middle_it_leaves_only_a_part_that_the_next_run_discards(
    whole: Path, look: Callable[[str], GuestFacts], tmp_path: Path
) -> None:
    folder, plan, before = GuestFolder(tmp_path / "idp"), decided(look("idp")), fingerprint(whole)
    folder.mkdir()
    copy = folder.prepared_copy
    folder.plan.write_text(plan.model_dump_json())
    arguments = [str(folder), str(whole), before[0]]
    child = subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE)
    assert child.stdout is not None
    for line in child.stdout:
        if b"mkinitrd" in line:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    deadline = time.monotonic() + 20
    while holders(copy) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert holders(copy) == []
    assert [p.name for p in copy.parent.iterdir()] == ["idp.img.part"]
    assert not folder.prepared.exists()
    planned = SimpleNamespace(preparation=plan, source_digest=before[0])
    assert not prepared.complete(folder, planned, Origin.whole(whole))

    # the next run begins anew; here it also finds that the plan was made from other files, and keeps nothing
    stale = tuple(e.model_copy(update={"before_sha256": "0" * 64}) for e in plan.edits[:2])
    with pytest.raises(StepFailed, match="not as the plan was made from") as e:
        prepared.start(Origin.whole(whole), folder, plan.model_copy(update={"edits": (*stale, *plan.edits[2:])}), before[0])
    assert e.value.problems[0].found == ", ".join(edit.path for edit in stale)
    assert list(copy.parent.iterdir()) == []
    assert fingerprint(whole) == before


def disk_with(tmp_path: Path, kind: int, content: Path | bytes) -> Path:
    """A disk with GRUB's name in its first sector and one partition: a folder's files as ext3, or bytes as they are."""
    disk = tmp_path / "disk.img"
    head = bytearray(512)
    head[0:4] = b"GRUB"
    head[446:462] = struct.pack("<8BII", 0x80, 0, 0, 0, kind, 0, 0, 0, 2048, 32 * 2048)
    head[510:512] = b"\x55\xaa"
    with disk.open("wb") as f:
        f.write(head)
        f.truncate(34 * MIB)
        if isinstance(content, bytes):
            f.seek(MIB)
            f.write(content)
    if isinstance(content, Path):
        tool.run(["mke2fs", "-q", "-t", "ext3", "-d", content, "-E", f"offset={MIB}", disk, "32M"])
    return disk


def physical_volume(folder: Path) -> Path:
    return disk_with(folder, 0x8E, lvm.head("VolGroup00", [], 32 * MIB, image.IDP.uuid, "/dev/xvda1"))


def photographs(folder: Path) -> Path:
    (folder / "files").mkdir()
    (folder / "files/photo.jpg").write_bytes(b"x")
    return disk_with(folder, 0x83, folder / "files")


def without_fstab(folder: Path) -> Path:
    for name in ("etc", "sbin"):
        (folder / "files" / name).mkdir(parents=True)
    return disk_with(folder, 0x83, folder / "files")


def without_end(folder: Path) -> Path:
    etc = folder / "files/etc"
    (etc / "sysconfig/network-scripts").mkdir(parents=True)
    (etc / "fstab").write_text("/dev/xvda1 / ext3 defaults 1 1\n")
    os.mkfifo(etc / "inittab")  # nobody will ever write into it
    (etc / "securetty").symlink_to("/proc/kmsg")
    (etc / "modprobe.conf").mkdir()
    with (etc / "sysconfig/network-scripts/ifcfg-eth0").open("wb") as f:
        f.truncate(1 << 30)  # sparse: costs the guest nothing
    return disk_with(folder, 0x83, folder / "files")


def circles(folder: Path) -> Path:
    etc = folder / "files/etc"
    (etc / "rc.d").mkdir(parents=True)
    (folder / "files/boot/grub").mkdir(parents=True)
    (etc / "fstab").write_text(
        "/dev/xvda1 / ext3 defaults 1 1\n$(reboot;) /boot ext3 defaults 1 2\n/dev/`reboot` /home ext3 x 1 2\n;halt / ext3\n"
    )
    (etc / "inittab").symlink_to("securetty")
    (etc / "securetty").symlink_to("inittab")
    (etc / "sysctl.conf").symlink_to("../" * 50 + "proc/self/mem")
    (folder / "files/boot/grub/grub.conf").symlink_to("grub.conf")
    return disk_with(folder, 0x83, folder / "files")


def places_taken(folder: Path) -> Path:
    """Whoever wanted udev to write no rules made their place a link to /dev/null, or a folder."""
    rules = folder / "files/etc/udev/rules.d"
    (rules / PLACES[1]).mkdir(parents=True)
    (rules / PLACES[0]).symlink_to("/dev/null")
    (folder / "files/etc/fstab").write_text("/dev/xvda1 / ext3 defaults 1 1\n")
    (folder / "files/sbin").mkdir()
    (folder / "files/sbin/init").write_bytes(bytes(64))
    return disk_with(folder, 0x83, folder / "files")


DISKS = {"idp": lambda folder: image.build(ONE)} | {  # idp first: `one_appliance` takes a copy of it for it
    make.__name__: make for make in (physical_volume, photographs, without_fstab, without_end, circles, places_taken)
}


def test_a_file_of_ours_takes_the_place_of_a_link_to_nothing_and_of_a_folder(
    many: tuple[Path, dict[str, Path]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(appliance, "WORKER", many[0])
    edits = [{"path": f"/etc/udev/rules.d/{n}", "before_sha256": None, "after": "bGFuMAo="} for n in PLACES]  # lan0
    job = {"kept": "/.kept", "names": ["xvda"], "initrd": "", "boot_loader": "grub-legacy", "commands": [], "edits": edits}
    job |= {"additions": addition.job(tmp_path, Additions(), tmp_path)}
    with appliance.work("apply", Origin.whole(many[1]["places_taken"]), job, "tcg", lambda *_: None) as (raw, _):
        found = {path: text for path, text in raw["texts"].items() if path.startswith("/etc/udev/")}  # read again from the disk
    assert found == {edit["path"]: edit["after"] for edit in edits}


def test_a_physical_volume_without_its_guest_is_refused(look: Callable[[str], GuestFacts]) -> None:
    with pytest.raises(BadInput, match="holds no Linux guest"):
        look("physical_volume")


def test_a_file_system_that_is_no_guest_is_refused(look: Callable[[str], GuestFacts]) -> None:
    with pytest.raises(BadInput, match="no Linux guest"):
        look("photographs")


def test_a_guest_without_an_fstab_is_refused(look: Callable[[str], GuestFacts]) -> None:
    with pytest.raises(BadInput, match="no /etc/fstab"):
        look("without_fstab")


def test_a_hostile_guest_cannot_make_us_read_without_end(look: Callable[[str], GuestFacts]) -> None:
    with pytest.raises(BadInput, match=r"unreasonably large(.|\n)*ifcfg-eth0"):
        look("without_end")


def test_links_that_lead_in_a_circle_and_words_for_a_shell_are_only_words(look: Callable[[str], GuestFacts]) -> None:
    with pytest.raises(BadInput, match="the guest has no boot menu"):
        look("circles")


def test_a_disk_with_a_qcow2_header_is_refused_and_never_opened_as_such(tmp_path: Path) -> None:
    disk = tmp_path / "evil.img"
    secret = tmp_path / "secret"
    secret.write_bytes(b"host secret" * 1000)
    tool.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", disk, "1M"])
    with pytest.raises(BadInput, match="qcow2"):
        appliance.inspect(Origin.whole(disk))
