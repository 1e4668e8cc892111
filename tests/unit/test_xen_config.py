"""Xen configurations: what is understood, what is refused, and that nothing is ever executed."""

import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hikkoshi.errors import BadInput
from hikkoshi.xen import config, disks
from hikkoshi.xen.config import Vif, XenDisk, XenGuest, parse

DATA = Path(__file__).parents[1] / "data" / "xen"
BRIEF = settings(max_examples=40)
MINIMAL = "name = 'a'\nmemory = 64\n"


def from_file(name: str) -> XenGuest:
    return parse((DATA / name).read_text(), name)


def problems(text: str) -> list[str]:
    with pytest.raises(BadInput) as e:
        parse(text, "F")
    assert all(p.what and p.where and p.found and p.expected and p.remedy for p in e.value.problems)
    return [f"{p.where} {p.found}" for p in e.value.problems]


def test_the_key_value_form_of_a_real_xl_guest_is_read() -> None:
    web = from_file("web01.cfg")
    assert (web.name, web.type, web.memory_mb, web.vcpus, web.bootloader) == ("web01", "pv", 320, 1, "pygrub")
    assert web.disks == (XenDisk(vdev="xvda", target="/srv/xen/web01/disk.img"),)
    assert [(v.mac, v.bridge) for v in web.vifs] == [("00:16:3e:00:01:01", "xenbr0"), ("00:16:3e:00:01:02", "xenbr100")]
    assert web.other == {"on_poweroff": "destroy", "on_reboot": "restart", "on_crash": "destroy"}


def test_the_old_form_of_a_real_xl_guest_with_two_disks_is_read() -> None:
    db = from_file("db01.cfg")
    assert [(d.vdev, d.target, d.prefixes) for d in db.disks] == [
        ("xvda", "/srv/xen/db01/disk.img", ("file",)),
        ("xvdb", "/srv/xen/db01/data.img", ("file",)),
    ]


def test_a_configuration_as_centos_5_wrote_it_is_read() -> None:
    gateway = from_file("centos5-gateway.xm")
    assert gateway.disks == (XenDisk(vdev="xvda", target="/var/lib/xen/images/gateway.img", prefixes=("tap", "aio")),)
    assert (gateway.memory_mb, gateway.maxmem_mb, gateway.bootloader) == (640, 640, "/usr/bin/pygrub")
    assert [v.bridge for v in gateway.vifs] == ["xenbr301", "xenbr302", "xenbr303"]
    assert gateway.uuid == "5c1f3f2e-8d0b-6a3e-3b6d-0f4f6f1b9c11"
    assert gateway.other["vfb"] is None  # its name alone: a password may stand in it


def test_computed_values_resolve_without_running_the_program() -> None:
    node = from_file("xm-computed-values.xm")
    assert (node.name, node.memory_mb, node.kernel) == ("node07", 512, "/boot/vmlinuz-2.6.18-398.el5xen")
    assert [(d.target, d.vdev, d.partition) for d in node.disks] == [
        ("/dev/vg0/node7-root", "xvda1", 1),
        ("/srv/xen/swap", "xvda2", 2),
    ]
    assert node.vifs == (Vif(mac="00:16:3e:00:00:07", bridge="xenbr0"), Vif())
    assert node.other == {"vmid": 7, "base": None}


def test_the_freedoms_of_xl_are_read() -> None:
    mixed = from_file("xl-indented-with-semicolons.cfg")
    assert (mixed.type, mixed.memory_mb, mixed.maxmem_mb, mixed.vcpus) == ("pvh", 512, 1024, 2)
    system, cdrom, data = mixed.disks
    assert (system.target, system.access, system.cdrom) == ("/dev/vg0/mixed", "w", False)
    assert (cdrom.target, cdrom.access, cdrom.cdrom) == ("/srv/iso/a,b:c=d.iso", "r", True)
    assert (data.format, data.options, data.access) == ("qcow2", ("discard",), "r")
    assert mixed.vifs[0].other == {"vlan": "100"}


def test_every_line_of_code_is_named_at_once_and_its_consequences_are_not() -> None:
    with pytest.raises(BadInput) as e:
        from_file("xm-with-code-refused.xm")
    lines = [int(p.where.rsplit(":", 1)[1]) for p in e.value.problems]
    assert lines == [1, 2, 3, 12, 13, 14]  # 11 only uses a name that 3 would have bound
    assert e.value.exit_code == 2
    assert not Path("/tmp/configuration-was-executed").exists()


def test_a_line_with_a_password_that_cannot_be_read_is_told_without_it() -> None:
    with pytest.raises(BadInput) as e:
        config.parse(MINIMAL + "vfb = ['vnc=1,vncpasswd=CAN'ARY'] + x", "x")
    assert "vncpasswd" in str(e.value)
    assert "CAN" not in str(e.value).replace("CANNOT", "")
    assert "ARY" not in str(e.value)


CODE = [
    "kernel = open('/etc/passwd')",
    "kernel = __import__('os').system('id')",
    "kernel = ().__class__",
    "kernel = [i for i in (1, 2)]",
    "kernel = 1 if 1 else 2",
    "kernel = lambda: 1",
    "kernel = f'{name}'",
    "kernel = {'a': 1}",
    "kernel = 1 < 2",
    "kernel = 2 ** 99999999",
    "kernel = 1 << 99999999",
    "kernel = 'a' * 99999999",
    "kernel = '%99999999d' % 1",
    "kernel = '%*d' % (99999999, 1)",
    "kernel = 9223372036854775807 * 2",
    "kernel = b'bytes'",
    "kernel = on",
    "kernel = memory / 0",
    "kernel = memory // 0",
    "kernel = 1e999",
    "kernel = 'a' + 1",
    "kernel = '%d' % 'a'",
    "kernel, y = 1, 2",
    "del name",
    "from os import *",
    "def f(): global name",
    "kernel = " + "1+" * 5000 + "1",
    "kernel = " + "-" * 5000 + "1",
    "kernel = " + "(" * 500 + ")" * 500,
    "\n".join(["a = ['x', 'x']"] + ["a = [a, a]"] * 60 + ["kernel = a"]),
    "\n".join(["a = 'xx'"] + ["a = a + a"] * 60 + ["kernel = a"]),
    "\n".join(["a = 3"] + ["a = a * a"] * 60 + ["kernel = a"]),
    "\n".join(["a = 'xx'"] + ["a = '%s%s' % (a, a)"] * 60 + ["kernel = a"]),
]


@pytest.mark.parametrize("code", CODE, ids=lambda c: c[:24])
def test_code_and_bombs_are_refused(code: str) -> None:
    assert problems(MINIMAL + code)


_watching: list[str] | None = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if arguments[:1] == ("<unknown>",):
        return  # for a syntax error's message Python looks for a file of the name that ast gives to a text
    if _watching is not None and event in ("exec", "import", "open", "os.system", "subprocess.Popen"):
        _watching.append(event)


sys.addaudithook(_watch)  # Python has no way to take it off again; it is idle outside of `events_of`


def events_of(text: str) -> list[str]:
    """What Python's own audit reports while `text` is parsed: code run, files opened, programs started."""
    global _watching  # noqa: PLW0603 - an audit hook takes no state of its own
    seen: list[str] = []
    _watching = seen
    try:
        parse(text, "F")
    except BadInput:
        pass
    finally:
        _watching = None
    return seen


def test_the_watch_sees_code_that_is_executed() -> None:
    global _watching  # noqa: PLW0603
    _watching = seen = []
    exec("pass")
    _watching = None
    assert seen == ["exec"]


@settings(deadline=None)
@given(st.text(max_size=200) | st.lists(st.sampled_from([*CODE[:26], *MINIMAL.splitlines(), "disk = [ 'a,b' ]"])).map("\n".join))
@example("import os\nos.system('id')")
@example("\0")
@example("x = '\\ud800'")
@example("(domain (name x))")
def test_any_text_is_a_guest_or_bad_input_and_is_never_executed(text: str) -> None:
    assert events_of(text) == []


PATHS = st.from_regex(r"/[a-z0-9./_-]{1,20}", fullmatch=True)
WORDS = st.from_regex(r"[a-z0-9._-]{1,12}", fullmatch=True)
DISKS = st.builds(
    XenDisk,
    vdev=st.from_regex(r"(xvd|sd|hd)[a-z][0-9]?", fullmatch=True),
    target=st.from_regex(r"/[a-z0-9./_:,=-]{1,20}", fullmatch=True),
    format=st.sampled_from(disks.FORMATS),
    access=st.sampled_from(["r", "w", "w!"]),
    cdrom=st.booleans(),
)
VIFS = st.builds(
    Vif,
    mac=st.from_regex(r"0[02468ace](:[0-9a-f]{2}){5}", fullmatch=True),
    bridge=WORDS,
    ip=st.just("") | st.from_regex(r"10\.[0-9]\.[0-9]\.[0-9]", fullmatch=True),
    script=st.just("") | WORDS,
)
GUESTS = st.builds(
    XenGuest,
    name=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,20}", fullmatch=True),
    uuid=st.just("") | st.uuids().map(str),
    type=st.sampled_from(["pv", "hvm", "pvh"]),
    memory_mb=st.integers(1, 1 << 20),
    maxmem_mb=st.just(0) | st.integers(1, 1 << 20),
    vcpus=st.integers(1, 64),
    kernel=st.just("") | PATHS,
    ramdisk=st.just("") | PATHS,
    extra=st.text(max_size=20),
    disks=st.lists(DISKS, max_size=4, unique_by=lambda d: d.vdev).map(tuple),
    vifs=st.lists(VIFS, max_size=10, unique_by=lambda v: v.mac).map(tuple),
    other=st.fixed_dictionaries({}, optional={"on_crash": st.text(), "acpi": st.integers(-(1 << 60), 1 << 60)}),
)


def written(guest: XenGuest) -> str:
    """The guest as somebody would write it for xl."""
    disks = [
        f"format={d.format},vdev={d.vdev},access={d.access}{',cdrom' if d.cdrom else ''},target={d.target}," for d in guest.disks
    ]
    vifs = [",".join(f"{k}={v}" for k, v in n.model_dump().items() if v) for n in guest.vifs]
    settings = guest.other | {
        "name": guest.name,
        "type": guest.type,
        "memory": guest.memory_mb,
        "vcpus": guest.vcpus,
        "disk": disks,
        "vif": vifs,
        "extra": guest.extra,
    }
    optional = {"uuid": guest.uuid, "maxmem": guest.maxmem_mb, "kernel": guest.kernel, "ramdisk": guest.ramdisk}
    return "\n".join(f"{k} = {v!r}" for k, v in (settings | {k: v for k, v in optional.items() if v}).items())


@BRIEF
@given(GUESTS)
def test_what_is_written_is_what_is_read(guest: XenGuest) -> None:
    assert parse(written(guest), "F") == guest


@BRIEF
@given(GUESTS)
def test_a_guest_survives_the_survey_file(guest: XenGuest) -> None:
    assert XenGuest.model_validate_json(guest.model_dump_json()) == guest


@pytest.mark.parametrize(
    "line",
    [
        "vfb = ['type=vnc,vncpasswd=canary,vnclisten=0.0.0.0']",
        "vncpasswd = 'canary'",
        "vncpasswd = 20261129",
        "spicepasswd = 'canary'",
        "device_model_args = ['-object', 'secret,id=vnc,data=canary']",
        "extra = 'netroot=iscsi:user:canary@10.0.0.1::3260::iqn.x rd.iscsi.password=canary'",
        "pw = 'canary'\nvfb = ['type=vnc,vncpasswd=' + pw]",
        "bootargs = 'root=/dev/xvda1 password=canary'",
    ],
)
def test_no_password_of_a_configuration_is_kept(line: str) -> None:
    guest = parse(f"name = 'a'\nmemory = 1\n{line}\n", "F")
    kept = guest.model_dump_json()
    assert "canary" not in kept
    assert "20261129" not in kept
    assert line.split(" ", maxsplit=1)[0] in kept  # that there is such a setting stays known


@pytest.mark.parametrize(
    "line",
    [
        "kernel = 'vncpasswd=canary' + open('x')",
        "vncpasswd = 'canary",
        "vif = ['vncpasswd=canary,x']",
        "disk = ['password=canary']",
    ],
)
def test_no_password_is_in_what_is_told_of_a_line_that_cannot_be_used(line: str) -> None:
    with pytest.raises(BadInput) as e:
        parse(f"name = 'a'\nmemory = 1\n{line}\n", "F")
    assert "canary" not in str(e.value)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("phy:/dev/vg0/a,hda,w", XenDisk(vdev="hda", target="/dev/vg0/a", prefixes=("phy",))),
        ("phy:vg0/a,sda,r", XenDisk(vdev="sda", target="/dev/vg0/a", access="r", prefixes=("phy",))),
        ("file:/x.img,ioemu:hda,w", XenDisk(vdev="hda", target="/x.img", prefixes=("file",))),
        ("file:/x.img,ioemu:/dev/hda,w", XenDisk(vdev="hda", target="/x.img", prefixes=("file",))),
        ("tap:qcow2:/x,xvda,w!", XenDisk(vdev="xvda", target="/x", format="qcow2", access="w!", prefixes=("tap", "qcow2"))),
        ("tap2:tapdisk:aio:/x,/dev/xvda,w", XenDisk(vdev="xvda", target="/x", prefixes=("tap2", "tapdisk", "aio"))),
        ("/x,,xvda", XenDisk(vdev="xvda", target="/x")),
        ("/x,raw,xvda,rw", XenDisk(vdev="xvda", target="/x")),
        (",hdc:cdrom,r", XenDisk(vdev="hdc", target="", access="r", cdrom=True)),
        ("/a.iso,,hdc:cdrom,r", XenDisk(vdev="hdc", target="/a.iso", access="r", cdrom=True)),
        ("vdev=d5p2,target=/x,y", XenDisk(vdev="d5p2", target="/x,y")),
        ("vdev=xvda,target=file:/x", XenDisk(vdev="xvda", target="file:/x")),
    ],
)
def test_a_disk_entry_is_read(entry: str, expected: XenDisk) -> None:
    assert disks.disk(entry) == expected


@pytest.mark.parametrize(("vdev", "partition"), [("xvda", 0), ("xvda1", 1), ("sdb12", 12), ("d5p2", 2), ("d5", 0)])
def test_a_partition_is_told_from_a_whole_disk(vdev: str, partition: int) -> None:
    assert XenDisk(vdev=vdev, target="/x").partition == partition


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("disk = [ 'phy:/x,xvda,w,0,x86_64-abi,w' ]", "too many"),
        ("disk = [ '/x,raw,xvda,w,w' ]", "too many"),
        ("disk = [ 'file:/x,xvda,q' ]", "unknown access"),
        ("disk = [ 'file:/x' ]", "virtual device is missing"),
        ("disk = [ 'file:/x,sda-1,w' ]", "'sda-1' is no virtual device"),
        ("disk = [ '/x,sda-1,xvda,w' ]", "unknown format"),
        ("disk = [ 'vdev=xvda,vdev=xvdb,target=/x' ]", "twice"),
        ("disk = [ 'vdev=xvda' ]", "target is missing"),
        ("disk = [ 'tap:vmdk:/x,xvda,w' ]", "unknown format 'vmdk'"),
        ("disk = [ 'file:/x,xvda,w', 'file:/y,xvda,w' ]", "on 2 disks"),
        ("disk = [ 'file:/x,xvda:tape,w' ]", "device type"),
        ("disk = 5", "5"),
        ("disk = [ 5 ]", "5"),
        ("vif = [ 'mac=00:16:3e:00:00' ]", "not the MAC"),
        ("vif = [ 'mac=01:16:3e:00:00:00' ]", "not the MAC"),
        ("vif = [ 'mac=00:16:3e:00:00:01', 'mac=00:16:3E:00:00:01' ]", "on 2 NICs"),
        ("vif = [ 'xenbr0' ]", "KEY=VALUE"),
        ("vif = [ 'bridge=a,bridge=b' ]", "twice"),
        ("vif = [ 'bridge=a' 'bridge=b' ]", "a comma may be missing"),
        ("disk = [ 'file:/a,xvda,w' 'file:/b,xvdb,w' ]", "unknown access 'wfile:/b'"),
        ("vif = [ 'devid=1' ]", "devid 1"),
        ("vcpus = 0", "0"),
        ("vcpus = 'two'", "two"),
        ("vcpus = 1.5", "1.5"),
        ("memory = -64", "-64"),
        ("name = '-f'", "-f"),
        ("name = 'a b'", "a b"),
        ("name = 'a\\n'", "a"),
        ("name = 'a/../b'", "a/../b"),
        ("kernel = 5", "5"),
        ("uuid = 'x'", "x"),
        ("builder = 'frob'", "frob"),
    ],
)
def test_a_setting_that_xen_would_not_take_is_refused_with_its_line(setting: str, word: str) -> None:
    (problem,) = problems(MINIMAL + setting)
    assert problem.startswith("F:3 ")
    assert word in problem


def test_all_wrong_settings_are_told_at_once_in_the_order_of_the_file() -> None:
    assert [p.split()[0] for p in problems("vcpus = 0\nvif = ['x']\ndisk = ['x', 'y']")] == ["F", "F", "F:1", "F:2", "F:3", "F:3"]


def test_name_and_memory_have_to_be_there() -> None:
    assert problems("vcpus = 1") == ["F not there", "F not there"]


@pytest.mark.parametrize("text", ["name = 'a", "memory = 5L", "name = ", "a b", "(domain"])
def test_a_line_that_is_no_setting_is_named(text: str) -> None:
    (problem,) = problems(MINIMAL + text)
    assert problem.startswith("F:3 ")


def test_numbers_in_quotes_are_numbers_as_for_xm() -> None:
    assert parse("name = 'a'\nmemory = ' 512 '\nvcpus = '2'", "F").memory_mb == 512


def test_a_nic_without_a_mac_is_kept_in_its_place() -> None:
    assert [v.mac for v in parse(MINIMAL + "vif = ['', 'mac=00:16:3e:00:00:01']", "F").vifs] == ["", "00:16:3e:00:00:01"]


def test_the_reader_sees_every_disk_and_nic() -> None:
    found = " ".join(row["found"] for row in config.table(from_file("xl-indented-with-semicolons.cfg")))
    assert "/srv/iso/a,b:c=d.iso, raw, cd-rom" in found
    assert "00:16:3e:aa:bb:cc on br0" in found
