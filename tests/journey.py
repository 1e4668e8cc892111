"""A guest's folder as the steps would fill it, without any step being run: for what is told of a move."""

import hashlib
import html
import re
from datetime import datetime
from pathlib import Path
from typing import Self

from hikkoshi.approval import approval, approver, plan
from hikkoshi.check import Permission
from hikkoshi.disk.conversion import Conversion
from hikkoshi.disk.origin import Identity, Origin
from hikkoshi.disk.source import DiskFacts
from hikkoshi.errors import Problem, StepFailed
from hikkoshi.guest.facts import GuestFacts, Interface, Kernel
from hikkoshi.guest.prepared import Prepared
from hikkoshi.guest.survey import Survey
from hikkoshi.network.compare.sequential import Attempt, Series
from hikkoshi.network.diagnosis.diagnosis import Counts, Diagnosis
from hikkoshi.network.outage import outage
from hikkoshi.network.remedy.cure import Cure
from hikkoshi.network.remedy.prescription import Prescription
from hikkoshi.network.remedy.remedy import Applied
from hikkoshi.network.throughput.measured import Measured, Throughput
from hikkoshi.network.wiring import wiring
from hikkoshi.network.wiring.wiring import Wiring
from hikkoshi.params.home import Home
from hikkoshi.rehearsal.outcome import BootOutcome, Ending, SeenNic
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.report import report
from hikkoshi.run.journal import Journal
from hikkoshi.vsphere.cutover import InService
from hikkoshi.vsphere.deployment import Deployment
from hikkoshi.vsphere.readback import NicFound
from hikkoshi.xen.config import Vif, XenDisk, XenGuest
from hikkoshi_lab import keys

PROJECT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data" / "guest"
MAC = "00:16:3e:01:00:00"
VMDK, MACHINE = "a" * 64, "5032c8a5-9c5e-ba7a-3804-832a03e16381"  # the disk, and the machine made of it
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c63f8cfc0f01f0005050102a0d1e2c40000000049454e44ae426082"
)
SINCE = "2026-11-22T00:00:00+00:00"  # of the cut-over above
STEPS = ("10-survey", "20-plan", "30-prepare", "40-convert", "50-rehearse", "60-deploy", "70-cutover")


def survey() -> Survey:
    def kernel(index: int, version: str) -> Kernel:
        claims = {"15ad:07c0": ("vmw_pvscsi",), "15ad:07b0": ("vmxnet3",)}
        return Kernel(
            index=index,
            title=version,
            version=version,
            image=f"/boot/vmlinuz-{version}",
            initrd=f"/boot/initrd-{version}.img",
            xen_only=version.endswith("xen"),
            initrd_modules=("ext3", "xenblk"),
            claims={} if version.endswith("xen") else claims,
        )

    network = "/etc/sysconfig/network-scripts/ifcfg-eth0"
    texts = {
        "/boot/grub/grub.conf": "grub-xen-default.conf",
        "/etc/fstab": "fstab-xvda",
        "/etc/modprobe.conf": "modprobe-xen.conf",
        "/etc/inittab": "inittab-el5-xvc0",
        "/etc/sysconfig/kernel": "sysconfig-kernel",
        network: "ifcfg-eth0-hwaddr",
    }
    return Survey(
        xen=XenGuest(
            name="idp",
            memory_mb=1024,
            disks=(XenDisk(vdev="xvda", target="/var/lib/xen/images/idp.img"),),
            vifs=(Vif(mac=MAC, bridge="xenbr210"),),
        ),
        disk=DiskFacts(
            path="/images/idp.img",
            kind="file",
            bytes=9 << 30,
            allocated_bytes=1 << 30,
            mtime_ns=0,
            table="mbr",
            boot_loader="grub-legacy",
        ),
        origin=Origin.whole(Path("/images/idp.img")),
        bytes=9 << 30,
        digest="d" * 64,
        guest=GuestFacts(
            distribution="centos",
            release="5.11",
            arch="x86_64",
            hostname="idp",
            boot_loader="grub-legacy",
            boot_config="/boot/grub/grub.conf",
            default_kernel=0,
            kernels=(kernel(0, "2.6.18-398.el5xen"), kernel(1, "2.6.18-371.el5"), kernel(2, "2.6.18-398.el5")),
            partitions=(),
            interfaces=(Interface(name="eth0", file=network, mac=MAC, address="10.2.10.5/24"),),
            forwards=False,
            forwards_because="nothing says so",
            texts={path: (DATA / name).read_text() for path, name in texts.items()},
            initrd_maker="/sbin/mkinitrd",
            warnings=("the guest's clock is kept by Xen",),
        ),
    )


def outcome(name: str, ending: Ending, words: str, *nics: SeenNic) -> BootOutcome:
    return BootOutcome(
        ending=ending,
        words=words,
        seconds=12.5,
        accelerator="tcg",
        controller="pvscsi",
        nic_model="vmxnet3",
        kernel="2.6.18-398.el5" if nics else "",
        root="/dev/sda1" if nics else "",
        nics=nics,
        picture=f"rehearsal/{name}.png",
        screen=f"rehearsal/{name}.txt",
        console=f"rehearsal/{name}.console.txt",
        disk_unchanged=True,
    )


def series(through: float) -> Series:
    runs = [
        Attempt(number=n, path=path, began="2026-11-22T00:00:00.000+00:00", seconds=2, throughput=value + n / 100)
        for n, (path, value) in enumerate([("through", through), ("direct", 94.0)] * 5, 1)
    ]
    return Series(through="through", direct="direct", unit="10^6 bits/s", seed=1, runs=tuple(runs), ended="decided")


def converted(folder: Path, vmdk: str = VMDK) -> Conversion:
    """The result of 40-convert, in a guest's folder."""
    made = Conversion(
        vmdk=f"{folder.name}.vmdk",
        vmdk_bytes=1 << 20,
        vmdk_sha256=vmdk,
        vmdk_sha1="b" * 40,
        virtual_bytes=9 << 30,
        copy_bytes=9 << 30,
        copy_digest="c" * 64,
        level="fast",
        threads=2,
        qemu_img="7.2.22",
        samples=((0.0, 0), (9.0, 1024)),
        seconds=9,
    )
    made.save(folder)
    return made


def deployed(folder: Path, planned: plan.Plan, vmdk: str = VMDK, machine: str = MACHINE, **other: object) -> Deployment:
    """The result of 60-deploy, in a guest's folder: what an approval is of stands in vSphere."""
    usual = {
        "guest": folder.name,
        "server": "vc",
        "moid": "vm-7",
        "name": folder.name,
        "host": "esx1",
        "vmdk_bytes": 1 << 20,
        "vmdk_sha1": "b" * 40,
        "manifest": "checksums agree",
        "warnings": (),
        "seconds": 4,
        "nics": (),
    }
    made = Deployment.model_validate({**usual, "instance_uuid": machine, "plan_hash": planned.hash, "vmdk_sha256": vmdk, **other})
    made.save(folder)
    return made


def permitted(guest: str = "gateway", step: str = "70-cutover", **of: str) -> Permission:
    """A permission as a run's gate gives it, where there is no run."""
    usual = {"plan": "a" * 64, "vmdk": VMDK, "machine": MACHINE, "shell": "", "approver": "approver@lab", "given": SINCE}
    return Permission(run="by hand", step=step, guest=guest, **{**usual, **of})


class Move:
    """A guest's folder, filled step by step as the steps would."""

    def __init__(self, home: Home) -> None:
        self.home, self.folder = home, home.folder("idp")
        self.survey = survey()
        self.plan = plan.make(home, home.guest("idp"), home.site(), self.survey)
        self.journal = Journal(self.folder / "journal.jsonl")
        self.n = 0

    def ran(
        self,
        step: str,
        mode: str = "apply",
        result: str = "succeeded",
        error: str = "",
        rows: tuple[str, ...] = ("done",),
        red: tuple[str, ...] = (),
    ) -> str:
        """A run of a step, as the journal tells of it; `rows`: the states of its actions, none where it was refused.

        `red`: titles of what was not so at its verification.
        """
        self.n += 1
        about = {"run": f"20261122T0000{self.n:02d}Z-{step}", "step": step}
        checks = [{"title": f"check of {step}", "state": "ok", "found": "1 < 2 & true", "expected": ""}]
        self.journal.append("open", **about, mode=mode)
        self.journal.append("preflight", **about, state="ok", checks=checks)
        for state in rows:
            self.journal.append("step", **about, title=f"act in {step}", state=state, seconds=1.5, found="as planned")
        if red:
            told = [{"title": title, "state": "red", "found": "regressed", "expected": ""} for title in red]
            self.journal.append("verify", **about, mode=mode, state="red", checks=told)
            error = error or f"StepFailed: {StepFailed(*(Problem(code='a-code', what=f'not so: {title}') for title in red))}"
        self.journal.append("outcome", **about, mode=mode, outcome=result, error=error)
        return about["run"]

    def with_vmdk(self) -> Self:
        """Rehearsed, with a file in the place of the VMDK, and what the console and the screen showed."""
        self.results("50-rehearse")
        vmdk = self.folder.vmdk
        vmdk.parent.mkdir(exist_ok=True)
        vmdk.write_bytes(b"bytes of a disk" * 999)
        sums = {f"vmdk_{a}": hashlib.new(a, vmdk.read_bytes()).hexdigest() for a in ("sha256", "sha1")}
        copy = {"copy_identity": Prepared.load(self.folder).disk}
        Conversion.load(self.folder).model_copy(update=sums | copy).save(self.folder)
        seen = Rehearsal.load(self.folder).model_copy(update={"vmdk_sha256": sums["vmdk_sha256"]})
        seen.save(self.folder)
        for name in (seen.after.console, seen.after.screen):
            (self.folder / name).write_text("seen")
        return self

    def approve(self, **when: datetime) -> approver.Approver:
        """The lab's approver signs the present plan."""
        if not keys.folder(self.home).exists():
            keys.make(self.home)
        by = approver.of(self.home, "idp", keys.folder(self.home) / "approver")
        approval.give(self.home, "idp", self.plan, "the page", by, **when)  # type: ignore[arg-type]
        return by

    def serve(self) -> None:
        """Moved as it should be: approved, cut over, and all of its network measured and good."""
        self.results("60-deploy")
        self.approve()
        self.results("70-cutover", begin="70-cutover")
        self.see("ok")
        self.meter()
        self.speed(94.0)

    def see(self, verdict: str, since: str = SINCE) -> None:
        """What was seen of the NIC's segment from inside the guest."""
        nic = wiring.NicWiring.model_validate(
            {
                "name": "eth0",
                "mac": MAC,
                "link": "up",
                "planned": "servers",
                "seen": (),
                "verdict": verdict,
                "frames": 0,
                "sent": 0,
                "after": None,
            }
        )
        witness = wiring.Witness(host="idp", way="passive", seconds=20, nics=(nic,))
        Wiring(run="one", since=since, witness=witness).save(self.folder)

    def meter(self, **changed: object) -> None:
        """What was measured of the outage: 2.05 s on one segment, or with these fields changed."""
        found = outage.read(DATA.parent / "outage" / "one-2.05--behind-arp.jsonl")
        found = found.model_copy(update={"segments": tuple(s.model_copy(update={"name": "servers"}) for s in found.segments)})
        found.model_copy(update={"since": SINCE, **changed}).save(self.folder)

    def speed(self, through: float, runs: int = 10, **segments: float) -> None:
        """What was measured of the throughput since the cut-over, and from other segments; 94 is that of the direct way."""
        made = series(through)
        made = made.model_copy(update={"runs": made.runs[:runs]})
        others = {name: series(value) for name, value in segments.items()}
        found = Measured(since=SINCE, series=made, segments=others, folder="")
        Throughput(measured={"since the move": found}).save(self.folder)

    def remedy(self, since: str = SINCE, **plan: object) -> None:
        """What 85-offloads found and did."""
        counts = Counts.model_validate(dict.fromkeys(Counts.model_fields))
        found = Diagnosis(
            cause="LRO", kernel="2.6.18", release="5.11", forwards=True, seconds=5, findings=(), counts=counts, missing=()
        )
        Cure(since=since, diagnosis=found, folder="").save(self.folder)
        Applied(plan=Prescription.model_validate(plan), flags=(), files=()).save(self.folder)

    def results(self, through: str, begin: str = STEPS[0]) -> None:
        """Run the steps from `begin` to `through`, and write their results."""
        shown = self.folder / "rehearsal"
        shown.mkdir(parents=True, exist_ok=True)
        identity = Identity(bytes=1, mtime_ns=1, sample_sha256="e" * 64)
        nic = SeenNic(name="eth0", mac=MAC, driver="vmxnet3", addresses=("10.2.10.5/24",))
        nics = tuple(
            NicFound(mac=MAC, label="", model="vmxnet3", port_group="servers-210", vlan=210, start_connected=c, connected=c)
            for c in (False, True)
        )
        for step in STEPS[STEPS.index(begin) : STEPS.index(through) + 1]:
            self.ran(step)
            match step:
                case "10-survey":
                    self.survey.save(self.folder)
                case "20-plan":
                    self.plan.save(self.folder)
                case "30-prepare":
                    Prepared(
                        preparation=self.plan.preparation.hash,
                        source_digest=self.plan.source_digest,
                        source=identity,
                        disk=identity,
                        facts=self.survey.guest,
                        kept={},
                        initrd_modules_before=("xenblk",),
                        initrd_modules_after=("vmw_pvscsi",),
                        accelerator="tcg",
                        seconds=3,
                    ).save(self.folder)
                case "40-convert":
                    converted(self.folder)
                case "50-rehearse":
                    for name in ("before", "after"):
                        (shown / f"{name}.png").write_bytes(PNG)
                        (shown / f"{name}.txt").write_text(f"screen {name} <&>")
                    Rehearsal(
                        vmdk_sha256="a" * 64,
                        plan_hash=self.plan.hash,
                        before=outcome("before", Ending.GRUB_ERROR, "Error 13: Invalid or unsupported executable format"),
                        after=outcome("after", Ending.LOGIN, "idp login:", nic),
                    ).save(self.folder)
                case "60-deploy":
                    deployed(self.folder, self.plan, nics=nics[:1])
                case "70-cutover":
                    InService(guest="idp", moid="vm-7", since="2026-11-22T00:00:00+00:00", nics=nics[1:]).save(self.folder)

    def page(self) -> str:
        return report.write(self.home, "idp").read_text(encoding="utf-8")


def words(page: str) -> str:
    """What a reader reads: tags and styles taken away."""
    return " ".join(html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)).split())
