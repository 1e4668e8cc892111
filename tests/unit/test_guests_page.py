"""docs/guests.md tells which guests boot and what lives in them: those of the lab, and no others."""

from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest

from hikkoshi_lab.debian.disks import disks as debian
from hikkoshi_lab.matrix import COLUMNS
from hikkoshi_lab.variants import VARIANTS, Variant

PAGE = (Path(__file__).parents[2] / "docs" / "guests.md").read_text()


def table(*columns: str) -> list[dict[str, str]]:
    """The rows below a head."""
    rows = PAGE.partition(f"| {' | '.join(columns)} |\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [dict(zip(columns, (cell.strip() for cell in row.strip("|").split("|")), strict=True)) for row in rows]


# the kinds that the lab's own description of a guest tells
TOLD: dict[str, Callable[[Variant], bool]] = {
    "`/dev/hda` for one partition, `/dev/xvda` for another": lambda v: "hda" in v.image.disk_names,
    "fstab by label, `root=` by UUID": lambda v: (v.image.fstab, v.image.root) == ("label", "uuid"),
    "LVM's names; a filter in lvm.conf, in the initrd too, that hides all but `/dev/xvda`": lambda v: v.image.layout == "lvm",
    "swap and data on disks of their own, without partitions": lambda v: v.image.layout == "disks",
    "a root on xfs": lambda v: v.image.file_system == "xfs",
    "a root in a subvolume of btrfs, by fstab and menu": lambda v: v.image.file_system == "btrfs",
    "GRUB legacy, with Xen's kernel as the default entry": lambda v: _legacy(v) and v.image.kernels[0] == "xen",
    "GRUB legacy, with an ordinary kernel as the default entry": lambda v: _legacy(v) and v.image.kernels[0] != "xen",
    "a menu for pygrub, and no boot loader": lambda v: v.image.layout == "partitions",
    "GRUB 2 by a BIOS": lambda v: v.disks is debian and (v.image.firmware, v.image.layout) == ("bios", "disk"),
    "GRUB 2 by UEFI": lambda v: v.image.firmware == "efi",
    "the place to resume from, named `/dev/xvda`": lambda v: v.image.small_initrd,
    "ifcfg files with HWADDR": lambda v: v.disks is not debian,
    "ifupdown": lambda v: v.disks is debian and v.image.network in ("scripts", "rules"),
    "systemd-networkd": lambda v: v.image.network == "networkd",
    "NetworkManager's keyfiles": lambda v: v.image.network == "keyfile",
    "netplan, by names and by MACs": lambda v: v.image.network == "netplan",
    "udev's rules for NICs, as its generator wrote them, and one that fits Xen's driver alone": lambda v: (
        v.image.network == "rules"
    ),
    "NICs called enX0, which nothing ties to their MACs": lambda v: v.image.nic_names == "enX",
    "a kernel of 32 bits": lambda v: "i386" in v.image.tree,
    "moved to LSI SAS and e1000": lambda v: (v.controller, v.nic_model) == ("lsisas1068", "e1000"),
    "VMware Tools as packages": lambda v: v.tools == "open-vm-tools",
    "VMware Tools as an archive": lambda v: v.tools == "archive",
}


def _legacy(v: Variant) -> bool:
    return v.disks is not debian and v.image.layout != "partitions"


def _meant(cell: str) -> set[str]:
    """The guests that boot of those that a cell names."""
    return {guest for guest, v in VARIANTS.items() if not v.refused and any(fnmatch(guest, name) for name in cell.split(", "))}


@pytest.mark.parametrize("kind", TOLD)
def test_a_kind_of_files_lives_in_the_guests_that_have_it(kind: str) -> None:
    (cell,) = [row["guests"] for row in table("kind", "guests") if row["kind"] == kind]
    assert _meant(cell) == {guest for guest, v in VARIANTS.items() if not v.refused and TOLD[kind](v)}


def test_every_guest_of_the_matrix_has_its_row_and_its_kind_of_failure() -> None:
    told = {row["guest"]: (row["what it is"], row["before"], row["NICs right"]) for row in table(*COLUMNS)}
    nics = {name: len(v.image.nics) for name, v in VARIANTS.items()}
    assert told == {n: (v.about, v.before, "–" if v.refused else f"{nics[n]}/{nics[n]}") for n, v in VARIANTS.items()}


def test_every_guest_that_boots_holds_kinds_of_files_and_every_one_named_exists() -> None:
    named = [name for row in table("kind", "guests") for name in row["guests"].split(", ")]
    assert [name for name in named if not any(fnmatch(guest, name) for guest in VARIANTS)] == []
    boots = [guest for guest, v in VARIANTS.items() if not v.refused]
    assert [guest for guest in boots if guest not in named] == []


def test_the_page_says_which_guests_ci_boots() -> None:
    (line,) = [line for line in PAGE.split("\n* ") if line.startswith("CI boots")]
    assert all((f"`{name}`" in line) == (not v.tested) for name, v in VARIANTS.items())
