"""Entries of `disk`: all forms of Xen's own tools, and what is no path of the Dom-0."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.xen.disks import XenDisk, disk

VOLUME = "/dev/vg/guest-volume"
ISCSI = "iqn.2001-05.com.equallogic:0-8a0906-23fe93404-c82797962054a96d-examplehost"
TABLE = {  # as the table of forms in Xen's tools/xl has them: what each means
    XenDisk(vdev="hda", target=VOLUME): (
        f"{VOLUME},,hda",
        f"{VOLUME},raw,hda,rw",
        f"format=raw, vdev=hda, access=rw, target={VOLUME}",
        f"raw:{VOLUME},hda,w",
    ),
    XenDisk(vdev="hdc", target="/root/image.iso", access="r", cdrom=True): (
        "/root/image.iso,,hdc,cdrom",
        "/root/image.iso,,hdc,,cdrom",
        "/root/image.iso,raw,hdc,devtype=cdrom",
        "format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso",
        "raw:/root/image.iso,hdc:cdrom,ro",
    ),
    XenDisk(vdev="xvdb", target=VOLUME, options=("backendtype=phy",)): (f"backendtype=phy,vdev=xvdb,access=w,target={VOLUME}",),
    XenDisk(vdev="hdc", target="", access="r", cdrom=True): (
        "devtype=cdrom,,,hdc",
        ",,hdc:cdrom,r",
        ",hdc:cdrom,r",
        "vdev=hdc,access=r,devtype=cdrom,target=",
        ",empty,hdc:cdrom,r",
        "vdev=hdc,access=r,devtype=cdrom,format=empty",
        "vdev=hdc,access=r,devtype=cdrom",
    ),
    XenDisk(vdev="xvda", target=ISCSI, script="block-iscsi"): (
        f"iscsi:{ISCSI},xvda,w",
        f"vdev=xvda,access=w,script=block-iscsi,target={ISCSI}",
    ),
    XenDisk(vdev="hda", target="app01", script="block-drbd"): ("drbd:app01,hda,w",),
    XenDisk(vdev="hda", target="/some/disk/image.raw", options=("discard",)): ("discard,vdev=hda,target=/some/disk/image.raw",),
    XenDisk(vdev="hda", target="/some/disk/image.iso", access="r", cdrom=True, options=("no-discard",)): (
        "cdrom,no-discard,vdev=hda,target=/some/disk/image.iso",
    ),
    XenDisk(vdev="hda", target="/some/disk/image.raw", options=("trusted",)): ("trusted,vdev=hda,target=/some/disk/image.raw",),
    XenDisk(vdev="hda", target="/some/disk/image.raw", options=("untrusted",)): (
        "untrusted,vdev=hda,target=/some/disk/image.raw",
    ),
}


@pytest.mark.parametrize(("expected", "entry"), [(d, entry) for d, entries in TABLE.items() for entry in entries])
def test_every_form_of_xens_own_table_is_read_as_xl_reads_it(expected: XenDisk, entry: str) -> None:
    assert disk(entry).model_copy(update={"prefixes": ()}) == expected


@pytest.mark.parametrize("entry", ["foo", "vdev=xvda,format=qcow9,target=/x", "/x,raw,xvda,w,w", "access=x,vdev=xvda,target=/x"])
def test_what_xl_refuses_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        disk(entry)


@pytest.mark.parametrize(
    ("entry", "target", "why"),
    [
        ("rbd:pool/image,xvda,w", "pool/image", "the script block-rbd reaches 'pool/image'"),
        ("vdev=xvda,target=rbd:pool/image:id=admin", "rbd:pool/image:id=admin", "'rbd:pool/image:id=admin' is no path"),
        ("rbd:pool/image,raw,xvda,rw", "pool/image", "block-rbd"),
        ("nbd:10.0.0.7:10809,xvda,w", "10.0.0.7:10809", "block-nbd"),
        ("vdev=xvda,target=nbd://10.0.0.7/export", "nbd://10.0.0.7/export", "is no path"),
        (f"{ISCSI},raw,xvda,rw", ISCSI, "is no path"),
        (f"vdev=xvda,target={ISCSI}", ISCSI, "is no path"),
        (f"raw:{ISCSI},xvda,w", ISCSI, "is no path"),
        ("phy:iqn.2001-05.com.example,xvda,w", "iqn.2001-05.com.example", "is no path"),
        ("eui.0123456789abcdef,raw,xvda", "eui.0123456789abcdef", "is no path"),
        ("npiv:2101001b32a0b000,xvda,w", "2101001b32a0b000", "block-npiv"),
        ("frob:/x,xvda,w", "/x", "the script block-frob reaches '/x'"),
        ("script=block-iscsi,vdev=xvda,target=/looks/like/a/path", "/looks/like/a/path", "block-iscsi"),
        ("script=/opt/scripts/block-sheepdog, vdev=xvda, target=guest7", "guest7", "block-sheepdog"),
        ("vg0/root,raw,xvda,rw,backend=storage", "vg0/root", "the domain storage has"),
        ("backend=storage,vdev=xvda,target=/dev/vg0/root", "/dev/vg0/root", "the domain storage has"),
        ("phy:vg0/root,xvda,w,storage", "vg0/root", "the domain storage has"),
        ("file:images/web.img,xvda,w", "images/web.img", "is no path"),
        ("tap:aio:web.img,xvda,w", "web.img", "is no path"),
        ("https://mirror.example.net/web.img,raw,xvda", "//mirror.example.net/web.img", "block-https"),
        ("vdev=xvda,target=gluster://10.0.0.7/vol/web.img", "gluster://10.0.0.7/vol/web.img", "is no path"),
        ('vdev=xvda,target=json:{"driver":"rbd"}', 'json:{"driver":"rbd"}', "is no path"),
    ],
)
def test_what_is_no_path_of_the_dom0_stays_as_it_is_written_and_says_why(entry: str, target: str, why: str) -> None:
    found = disk(entry)
    assert found.target == target
    assert why in found.elsewhere
    assert target in str(found)


@pytest.mark.parametrize(
    ("entry", "target"),
    [
        ("phy:vg0/root,xvda,w", "/dev/vg0/root"),
        ("vg0/root,raw,xvda,rw", "/dev/vg0/root"),
        ("vdev=xvda,target=vg0/root", "/dev/vg0/root"),
        ("phy:disk/by-path/pci-0000:00:1f.2-scsi-0:0:0:0,xvda,w", "/dev/disk/by-path/pci-0000:00:1f.2-scsi-0:0:0:0"),
        ("/dev/disk/by-id/scsi-iqn.2001-05.com.example,raw,xvda", "/dev/disk/by-id/scsi-iqn.2001-05.com.example"),
        ("phy:/dev/drbd0,xvda,w", "/dev/drbd0"),
        ("phy:/dev/etherd/e0.1,xvda,w!", "/dev/etherd/e0.1"),
        ("script=block,vdev=xvda,target=/dev/vg0/root", "/dev/vg0/root"),
        ("backend=0,vdev=xvda,target=/dev/vg0/root", "/dev/vg0/root"),
        ("phy:/dev/vg0/root,xvda,w,Domain-0,x86_64-abi", "/dev/vg0/root"),
    ],
)
def test_what_is_a_path_of_the_dom0_is_below_dev_where_it_is_relative(entry: str, target: str) -> None:
    found = disk(entry)
    assert (found.target, found.elsewhere) == (target, "")


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("51712", "xvda"),
        ("0xca01", "xvda1"),
        ("768", "hda"),
        ("0x0301", "hda1"),
        ("2049", "sda1"),
        ("5632", "hdc"),
        ("268435456", "d0"),
    ],
)
def test_a_device_may_be_given_by_its_number(number: str, name: str) -> None:
    assert disk(f"phy:/dev/vg0/a,{number},w").vdev == name
    assert disk(f"vdev={number},target=/dev/vg0/a").vdev == name


WORDS = {"format": "qcow2", "vdev": "xvda", "access": "ro", "devtype": "disk", "backendtype": "qdisk"}


@settings(max_examples=30, deadline=None)
@given(st.permutations(sorted(WORDS)), st.lists(st.sampled_from(["", " ", "\t", "  "]), min_size=6, max_size=6))
def test_order_and_blanks_of_named_values_change_nothing(keys: list[str], blanks: list[str]) -> None:
    words = [*(f"{key}={WORDS[key]}" for key in keys), "target=/srv/a,b.img"]
    entry = ",".join(blank + word for blank, word in zip(blanks, words, strict=True))
    expected = XenDisk(vdev="xvda", target="/srv/a,b.img", format="qcow2", access="r", options=("backendtype=qdisk",))
    assert disk(entry) == expected


@pytest.mark.parametrize(
    ("entry", "target"),
    [
        ("vdev=xvda,target=/dev/vg/x,", "/dev/vg/x"),
        ("/srv/pass=x/web.img,raw,xvda,w", "/srv/pass=x/web.img"),
        ("file:/srv/key=1/a=b.img,xvda,w", "/srv/key=1/a=b.img"),
        ("vdev=xvda,target=/srv/password=1/a b.img", "/srv/password=1/a b.img"),
        ("vdev=xvda,script=/etc/xen/scripts/block,target=/srv/x", "/srv/x"),
    ],
)
def test_a_path_is_taken_as_it_is_written(entry: str, target: str) -> None:
    found = disk(entry)
    assert (found.target, found.elsewhere) == (target, "")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("vdev=xvda, format=qcow2, target = /srv/x", "write target= without a space"),
        ("fmt=qcow2,/x,xvda,w", "'fmt' is no key"),
        ("/x.iso,raw,hdc,type=cdrom", "'type' is no key"),
        ("vdev=xvda,mode=r,target=/x", "'mode' is no key"),
        ("vdev=xvda,Format=qcow2,target=/x", "write format="),
        ("/x,raw,xvda,readonly=1", "'readonly' is no key"),
        ("/x,raw,xvda,rx", "unknown access"),
    ],
)
def test_a_key_that_xl_does_not_know_is_refused(entry: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        disk(entry)


@pytest.mark.parametrize(("word", "access"), [("wr", "w"), ("rw!", "w!"), ("w!r", "w!"), ("r!", "r"), ("!", "w!"), ("ro", "r")])
def test_access_is_read_as_xms_block_script_reads_it(word: str, access: str) -> None:
    assert disk(f"phy:vg/a,xvda,{word}").access == access


@pytest.mark.parametrize(
    "target",
    [
        "rbd:p/i:id=xen:key=AQBgeheim==:mon_host=a",
        "rbd:p/i:id=xen:key=AQBgeheim==",
        "iscsi://bob%geheim@h/iqn.2001-05.com.example/1",
        "https://bob:geheim@h/x.img",
        "iqn.2001-05.com.example:x,portal=192.0.2.1,auth_user=bob,chap=geheim",
        "iqn.2001-05.com.example:x,chap=bob:geheim",
        'json:{"file.password":"geheim"}',
        'json:{"driver":"rbd","file":{"key": "geheim"}}',
        "nbd://h/x,password=geheim",
        "/srv/x.img,password=geheim",
    ],
)
def test_no_secret_of_a_target_is_kept(target: str) -> None:
    found = disk(f"vdev=xvda,target={target}")
    assert "geheim" not in f"{found!r} {found} {found.elsewhere}"
    assert "‹not kept›" in found.target


def test_a_target_without_a_path_may_leave_the_format_empty() -> None:
    found = disk("rbd:pool/image,,xvda,w")
    assert (found.vdev, found.access, bool(found.elsewhere)) == ("xvda", "w", True)
    assert disk("vdev=xvda,script=/opt/san/block,target=/x").elsewhere == "the script /opt/san/block reaches '/x'"
