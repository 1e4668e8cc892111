"""What is handed to a contractor is read by others' tools: virt-v2v and qemu-img take the package, a page is a page."""

import json
import re
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hikkoshi.disk import conversion
from hikkoshi.disk.conversion import Conversion
from hikkoshi.disk.origin import Identity, Origin
from hikkoshi.guest.prepared import Prepared
from hikkoshi.params.home import Home
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.report import pdf, sheet
from hikkoshi.secret.masking import Mask
from hikkoshi.vsphere.ova import OvfPackage, PackedFile
from hikkoshi.vsphere.spec import VirtualNic
from journey import Move
from processes import hikkoshi

pytestmark = pytest.mark.needs("qemu-img", "virt-v2v", "chromium", "pdfinfo")


@pytest.fixture
def move(home: Home) -> Move:
    """Rehearsed, with a small disk that was really converted."""
    move = Move(home)
    move.results("50-rehearse")
    copy = move.folder.prepared_copy
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(bytes(range(256)) * 8192 + bytes(2 << 20))
    made = conversion.start(move.folder)
    identity = Identity.of(Origin.whole(copy))
    Prepared.load(move.folder).model_copy(update={"disk": identity}).save(move.folder)
    seen = Rehearsal.load(move.folder)
    seen.model_copy(update={"vmdk_sha256": made.vmdk_sha256}).save(move.folder)
    (move.folder / seen.after.console).write_text("seen")
    return move


def source(package: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["virt-v2v", "-i", "ova", "--print-source", package], capture_output=True, text=True, check=False)


def test_the_package_is_read_by_others_and_the_sheet_is_one_page(move: Move, tmp_path: Path) -> None:
    told = hikkoshi(move.home, "handover", "idp", "--to", str(tmp_path), "--json")
    assert told.returncode == 0, told.stderr
    folder = Path(json.loads(told.stdout)["folder"])
    read = source(folder / "idp.ova")
    assert read.returncode == 0, read.stderr
    assert f'"{move.plan.vm.nics[0].port_group}" [vmxnet3]' in read.stdout
    assert f"memory: {move.plan.vm.memory_mb << 20} (bytes)" in read.stdout
    assert "0 [scsi]" in read.stdout
    with tarfile.open(folder / "idp.ova") as tar:
        tar.extractall(tmp_path / "inside", filter="data")
    both = move.folder.prepared_copy, tmp_path / "inside" / "idp.vmdk"
    subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "vmdk", *both], check=True, stdout=subprocess.PIPE)
    pages = subprocess.run(["pdfinfo", folder / "sheet.pdf"], check=True, capture_output=True, text=True).stdout
    assert re.search(r"^Pages: +1$", pages, re.M)


def test_the_sheet_of_ten_nics_and_three_disks_is_one_page_in_japanese_too(home: Home, tmp_path: Path) -> None:
    nics = tuple(
        VirtualNic(name=f"eth{n}", mac=f"00:16:3e:05:00:{n:02x}", segment=f"s{n}", port_group=f"dv-ward-{n}", vlan=300 + n)
        for n in range(10)
    )
    plan = Move(home).plan
    vm = plan.vm.model_copy(update={"nics": nics, "capacities": (64 << 30, 10 << 30, 2 << 40)})
    package = [
        PackedFile(f"gateway{end}", 64 << 30, "0123456789abcdef" * 4) for end in (".ovf", ".mf", ".vmdk", "-2.vmdk", "-3.vmdk")
    ]
    page, site = tmp_path / "sheet.html", home.site().model_copy(update={"lang": "ja"})
    planned = plan.model_copy(update={"vm": vm, "forwards": True})
    sheet.write(page, planned, site, package, datetime.now(UTC), Mask([]))
    pdf.path(page).write_bytes(pdf.printed(page))
    told = subprocess.run(["pdfinfo", pdf.path(page)], check=True, capture_output=True, text=True).stdout
    assert re.search(r"^Pages: +1$", told, re.M)


def test_a_flipped_byte_of_a_disk_is_found_by_its_manifest(move: Move, tmp_path: Path) -> None:
    package = tmp_path / "idp.ova"
    OvfPackage.of(move.plan.vm, Conversion.load(move.folder), move.folder).write_ova(package)
    with tarfile.open(package) as tar:
        place = tar.getmember("idp.vmdk").offset_data + 4096
    with package.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    read = source(package)
    assert read.returncode != 0
    assert "does not match manifest" in read.stderr
