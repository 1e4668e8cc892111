"""The sheet that goes with a machine to whoever imports it without us: one page, in the words of the vSphere client."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from hikkoshi import files
from hikkoshi.approval.plan import Plan
from hikkoshi.params.site import Site
from hikkoshi.report import template
from hikkoshi.report.language import translations
from hikkoshi.secret.masking import Mask
from hikkoshi.translation import Gettext
from hikkoshi.vsphere.ova import PackedFile
from hikkoshi.vsphere.spec import VmSpec, place

TEMPLATE = "sheet.html.j2"
# as the vSphere client calls them
CONTROLLERS = {"pvscsi": "VMware Paravirtual", "lsisas1068": "LSI Logic SAS", "lsilogic": "LSI Logic Parallel"}
NICS = {"vmxnet3": "VMXNET3", "e1000": "E1000"}
FIRMWARE = {"bios": "BIOS", "efi": "EFI"}


def write(page: Path, plan: Plan, site: Site, package: Sequence[PackedFile], made: datetime, mask: Mask) -> None:
    """Write the sheet of a plan's machine, as HTML in the site's language; `package`: the files that it goes with."""
    _ = translations(site.lang).gettext
    text = template.of(TEMPLATE, site.lang).render(
        lang=site.lang,
        spec=plan.vm,
        site=site.name,
        plan=plan.hash,
        made=made,
        facts=list(_facts(plan.vm, _)),
        work=list(_work(plan, package, _)),
        forbidden=list(_forbidden(_)),
        afterwards=list(_afterwards(plan, _)),
        package=package,
    )
    files.write(page, mask.text(text))


def _facts(spec: VmSpec, _: Gettext) -> Iterator[tuple[str, str]]:
    yield _("name"), spec.name
    yield _("guest operating system"), _("{id}, as vSphere's API calls it").format(id=spec.guest_id)
    yield _("hardware version, firmware"), f"vmx-{spec.hardware_version:02d}, {FIRMWARE[spec.firmware]}"
    yield _("processors, memory"), _("{count} CPU, {memory} MB").format(count=spec.vcpus, memory=f"{spec.memory_mb:,}")
    yield _("SCSI controller"), CONTROLLERS[spec.controller]
    for n, capacity in enumerate(spec.disks):
        controller, unit = place(n)
        told = _("SCSI({place}), {size} ({bytes} bytes)")
        words = told.format(place=f"{controller}:{unit}", size=files.human(capacity), bytes=f"{capacity:,}")
        yield _("hard disk {number}").format(number=n + 1), words
    yield _("NICs"), f"{len(spec.nics)} × {NICS[spec.nic_model]}"


def _work(plan: Plan, package: Sequence[PackedFile], _: Gettext) -> Iterator[str]:
    yield _("Compare the sums of the files.")
    spec, size = plan.vm, files.human(plan.vm.disk_bytes)
    yield _(
        "Tell us before the import that you have {size} of room for it, take {hardware} and {id}, have each port group with its "
        "VLAN, and no machine of this name or with one of these MACs."
    ).format(size=size, hardware=f"vmx-{spec.hardware_version:02d}", id=spec.guest_id)
    yield _("Import {file} by Deploy OVF Template. Give each network the port group of the same name. Leave it off.").format(
        file=package[0].name
    )
    yield _("Set MAC and port group of each NIC as in the table, by the adapter's number. Take off both ticks.")
    yield _("Send us a picture of the settings of every NIC. Then wait.")
    if plan.preparation.additions.brings_tools:
        yield _("Do not install VMware Tools: the guest brings them.")
    else:
        yield _("The guest has no VMware Tools from us. Install them only after the cut-over, when we ask for them.")
    yield _("At the cut-over, when we call: set both ticks of every NIC, then power on.")


def _forbidden(_: Gettext) -> Iterator[str]:
    yield _("No start for a test: we have booted this very disk already.")
    yield _("No new MAC, and none that vSphere generates.")
    yield _("No other port group, and none left out: a wrong VLAN cuts a network off.")
    yield _("No guest customization, no template, no clone.")
    yield _("No snapshot, no backup that makes one, before we have seen the machine serve.")
    yield _("No other controller, NIC model, disk or hardware version.")


def _afterwards(plan: Plan, _: Gettext) -> Iterator[str]:
    yield _("That each NIC is on its VLAN: we send on every network, and name a NIC that is not.")
    yield _("That the guest answers at all of its addresses, and how long it did not.")
    if plan.forwards:
        yield _("That it routes as fast as before. Large receive offload (LRO) can make it slow; then we call you.")
    yield _("If anything is wrong, we ask you to take off the ticks and power off. Then the old machine serves again.")
