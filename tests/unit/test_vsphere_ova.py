"""A machine as files: what is in them, in which order, in the formats that VMware's readers take; never half of it."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from hikkoshi.errors import StepFailed
from hikkoshi.vsphere import ova, ovf
from hikkoshi.vsphere.ova import OvfPackage, PackagedDisk
from hikkoshi.vsphere.spec import VirtualNic, VmSpec


def package(folder: Path, disks: int = 1, hardware_version: int = 10) -> OvfPackage:
    paths = [folder / f"web{f'-{n}' if n > 1 else ''}.vmdk" for n in range(1, disks + 1)]
    for path in paths:
        path.write_bytes(f"bytes of {path.name}".encode() * 1000)
    nic = VirtualNic(name="eth0", mac="00:16:3e:05:00:01", segment="s", port_group="office", vlan=301)
    spec = VmSpec(
        name="Web (new)",
        guest_id="centos64Guest",
        hardware_version=hardware_version,
        vcpus=1,
        memory_mb=640,
        disk_bytes=disks << 20,
        capacities=(1 << 20,) * disks,
        controller="pvscsi",
        nic_model="vmxnet3",
        nics=(nic,),
    )
    sums = [(path, *(hashlib.new(a, path.read_bytes()).hexdigest() for a in ("sha256", "sha1"))) for path in paths]
    return OvfPackage(spec, tuple(PackagedDisk(*each) for each in sums))


def test_an_ova_holds_descriptor_manifest_and_every_disk_in_this_order(tmp_path: Path) -> None:
    wanted = package(tmp_path, disks=2)
    made = wanted.write_ova(tmp_path / "web.ova")
    whole = (tmp_path / "web.ova").read_bytes()
    assert (made.name, made.bytes, made.sha256) == ("web.ova", len(whole), hashlib.sha256(whole).hexdigest())
    with tarfile.open(tmp_path / "web.ova") as tar:
        assert tar.getnames() == ["web.ovf", "web.mf", "web.vmdk", "web-2.vmdk"]
        inside = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    sizes = [(d.path.name, d.path.stat().st_size) for d in wanted.disks]
    assert inside["web.ovf"].decode() == ovf.descriptor(wanted.spec, *sizes)
    assert inside["web-2.vmdk"] == wanted.disks[1].path.read_bytes()


@pytest.mark.parametrize(("version", "algorithm"), [(10, "sha1"), (11, "sha1"), (13, "sha256"), (19, "sha256")])
def test_the_manifests_sums_are_such_as_the_oldest_host_of_the_hardware_version_knows(
    tmp_path: Path, version: int, algorithm: str
) -> None:
    texts = package(tmp_path, disks=2, hardware_version=version).texts()
    contents = {"web.ovf": texts["web.ovf"], **{n: (tmp_path / n).read_bytes() for n in ("web.vmdk", "web-2.vmdk")}}
    sums = [f"{algorithm.upper()}({name})= {hashlib.new(algorithm, content).hexdigest()}" for name, content in contents.items()]
    assert texts["web.mf"].decode().splitlines() == sums


@pytest.mark.parametrize(
    ("size", "magic", "field"),
    [(ova.USTAR_LARGEST, b"ustar\x0000", b"77777777777\0"), (8 << 30, b"ustar  \0", b"\x80" + (8 << 30).to_bytes(11, "big"))],
)
def test_a_member_is_ustar_while_that_can_hold_it_and_then_has_its_size_in_base_256(
    size: int, magic: bytes, field: bytes
) -> None:
    out = io.BytesIO()
    tar = tarfile.TarFile(fileobj=out, mode="w")
    with pytest.raises(OSError, match="unexpected end of data"):  # the header is written before the first byte is read
        ova.add(tar, "web.vmdk", size, io.BytesIO())
    header = out.getvalue()[:512]
    assert (header[257:265], header[124:136]) == (magic, field)
    assert tarfile.TarInfo.frombuf(header, "utf-8", "strict").size == size


@pytest.mark.parametrize("form", ["ova", "folder"])
def test_a_disk_that_is_not_the_converted_one_is_not_packed(tmp_path: Path, form: str) -> None:
    wanted, out = package(tmp_path), tmp_path / "out"
    out.mkdir()
    disk = wanted.disks[0].path
    disk.write_bytes(disk.read_bytes()[:-1] + b"?")
    with pytest.raises(StepFailed, match="not the one that was converted"):
        wanted.write_ova(out / "web.ova") if form == "ova" else wanted.write_folder(out)
    assert [p.name for p in out.iterdir() if p.suffix not in (".ovf", ".mf")] == []


def test_progress_goes_over_all_disks_to_the_end(tmp_path: Path) -> None:
    wanted, told, out = package(tmp_path, disks=2), list[tuple[float, float, str]](), tmp_path / "out"
    out.mkdir()
    wanted.write_folder(out, lambda *each: told.append(each))
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert (told[-1][0], told[0][1]) == (wanted.size, wanted.size)
