"""What Xen's tools print of a guest is read as its configuration; what is something else is told for what it is."""

import json
from pathlib import Path
from typing import Any

import pytest

from hikkoshi.errors import BadInput, Problem
from hikkoshi.xen import behind, config
from hikkoshi.xen.config import XenGuest, parse

DATA = Path(__file__).parents[1] / "data" / "xen"
LEDGER = (DATA / "xm-list-long-one-guest.sxp").read_text()


def refused(text: str) -> Problem:
    with pytest.raises(BadInput) as e:
        parse(text, "F")
    (problem,) = e.value.problems
    assert problem.what
    assert problem.found
    assert problem.expected
    assert problem.remedy
    return problem


def web01(text: str) -> str:
    """A list of domains with Domain-0 and web01 alone."""
    whole = json.loads(text)
    return json.dumps([d for d in whole if d["config"]["c_info"]["name"] in ("Domain-0", "web01")])


def alike(guest: XenGuest) -> dict[str, object]:
    """What two descriptions of the same guest have in common."""
    disks = [(d.vdev, d.target, d.access, d.cdrom) for d in guest.disks]
    nics = [(v.mac, v.bridge) for v in guest.vifs]
    return {"name": guest.name, "type": guest.type, "memory": guest.memory_mb, "vcpus": guest.vcpus, "disks": disks, "nics": nics}


def test_what_xl_lists_of_a_guest_is_its_configuration() -> None:
    listed = parse((DATA / "xl-list-l.json").read_text(), "F")
    assert alike(listed) == alike(parse((DATA / "web01.cfg").read_text(), "F"))
    assert (listed.form, listed.uuid, listed.bootloader) == ("JSON", "731e47fd-9aa2-4a28-816e-f844cf53b22f", "pygrub")
    (one,) = [d for d in json.loads((DATA / "xl-list-l.json").read_text()) if d["domid"]]
    for text in (json.dumps(one), json.dumps(one["config"]), "Parsing config from /etc/xen/web01.cfg\n" + json.dumps(one)):
        assert alike(parse(text, "F")) == alike(listed)


def test_what_xm_lists_of_a_guest_is_its_configuration() -> None:
    ledger = parse(LEDGER, "F")
    assert alike(ledger) == {
        "name": "ledger",
        "type": "pv",
        "memory": 1024,
        "vcpus": 2,
        "disks": [("xvda", "/srv/xen/ledger.img", "w", False)],
        "nics": [("00:16:3e:51:0e:01", "xenbr0")],
    }
    assert (ledger.form, ledger.uuid) == ("S-expression", "5e0c7a52-1f7e-4b9c-9d8f-3a6de0a3c0f1")
    assert "console=xvc0" in ledger.arguments


def test_the_same_guest_as_the_first_versions_of_xl_list_it() -> None:
    text = (DATA / "xl-4.1-list-long.sxp").read_text().replace("(max_vcpus 1)", "(max_vcpus 2)\n(target_memkb 655360)")
    gateway = parse(text, "F")
    assert (gateway.vcpus, gateway.memory_mb, gateway.type) == (2, 640, "pv")
    assert [(d.vdev, d.target, d.access) for d in gateway.disks] == [("xvda", "/srv/xen/gateway.img", "w")]
    assert [v.mac for v in gateway.vifs] == ["00:16:3e:05:00:00"]


def test_what_xm_would_create_is_read_too() -> None:
    text = (
        "Using config file '/etc/xen/idp'.\n(vm\n (name idp)\n (memory 512)\n (vcpus 1)\n (bootloader pygrub) (cpus (2 3))\n"
        "    (image (linux (kernel '') (ip '192.0.2.7:127.0.255.255::::eth0:off') (root '/dev/sda1 ro') (args '4 quiet')))\n"
        "    (device (vbd (uname phy:vg0/idp) (dev sda1) (mode w)))\n    (device (vif (bridge xenbr0)))\n"
        "    (device (pci (dev (slot 0x00) (domain 0x0) (bus 0x04) (func 0x1))))\n)\n"
    )
    idp = parse(text, "F")
    assert idp.arguments == "root=/dev/sda1 ro ip=192.0.2.7:127.0.255.255::::eth0:off 4 quiet"
    assert (idp.other["pci"], idp.other["cpus"]) == (["0000:04:00.1"], "2 3")
    assert [(d.vdev, d.target) for d in idp.disks] == [("sda1", "/dev/vg0/idp")]


def test_what_is_elsewhere_and_what_is_passed_through_is_in_a_listing_too() -> None:
    config: dict[str, Any] = {
        "c_info": {"type": "hvm", "name": "a"},
        "b_info": {"max_vcpus": 4, "avail_vcpus": [0, 1], "max_memkb": 1048576, "target_memkb": 1048570, "cmdline": "ro"},
        "disks": [
            {"pdev_path": "iqn.2001-05.com.example:a", "vdev": "xvda", "script": "block-iscsi", "readwrite": 1},
            {"vdev": "hdc", "format": "empty", "is_cdrom": 1},
            {"pdev_path": "/dev/vg/b", "vdev": "xvdb", "backend_domname": "storage", "format": "raw"},
        ],
        "nics": [{"devid": 0, "mac": "00:16:3e:00:00:01", "script": "vif-route", "ifname": "v0"}],
        "pcidevs": [{"bus": 4, "dev": 16, "func": 1, "domain": 0}],
        "p9s": [{"tag": "share", "path": "/srv"}],
        "channels": [{"name": "org.qemu.guest_agent.0"}],
    }
    config["b_info"] |= {
        "sched_params": {"weight": 512, "cap": 50},
        "vcpu_hard_affinity": [[2, 3], [2, 3]],
        "extra": ["-object", "secret,id=x,data=canary"],
        "vnc": {"enable": "True", "passwd": "canary"},
        "irqs": [5],
    }
    found = parse(json.dumps({"domid": None, "config": config}), "F")
    assert (found.type, found.vcpus, found.max_vcpus, found.memory_mb, found.cmdline) == ("hvm", 2, 4, 1024, "ro")
    assert [d.script or d.backend for d in found.disks] == ["block-iscsi", "", "storage"]
    assert [(d.cdrom, d.target) for d in found.disks] == [
        (False, config["disks"][0]["pdev_path"]),
        (True, ""),
        (False, "/dev/vg/b"),
    ]
    assert (found.vifs[0].script, found.vifs[0].vifname) == ("vif-route", "v0")
    assert (found.other["pci"], found.other["p9"]) == (["0000:04:10.1"], ["tag=share,path=/srv"])
    assert (found.other["cap"], found.other["cpu_weight"], found.other["cpus"]) == (50, 512, ["[2, 3]", "[2, 3]"])
    assert (found.extra, found.other["irqs"], found.other["channel"]) == ("", ["5"], ["name=org.qemu.guest_agent.0"])
    assert {"device_model_args", "vnc"} <= {*found.other}
    assert "canary" not in found.model_dump_json()


@pytest.mark.parametrize("name", ["xl-list-l-2guests.json", "xm-list-long.sxp"])
def test_of_several_guests_the_one_is_asked_for(name: str) -> None:
    problem = refused((DATA / name).read_text())
    assert "2 guests: " in problem.found
    assert "xl list -l NAME" in problem.remedy


@pytest.mark.parametrize(
    "text", [LEDGER[:-200], LEDGER + ")", '[\n{ "domid": 1, "config": {', "[ {} ]", "# of xend\n(xend-http-server no)", "{}"]
)
def test_what_is_cut_off_or_describes_no_guest_is_refused_as_that(text: str) -> None:
    assert refused(text).code == "xen-listing-unusable"


def test_what_is_wrong_in_a_listing_is_told_as_in_a_file() -> None:
    problem = refused(LEDGER.replace("00:16:3e:51:0e:01", "00:16"))
    assert problem.code == "xen-value-unusable"
    assert "not the MAC" in problem.found


FILE = "names the right file"


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ((DATA / "libvirt-domain.xml").read_text(), "libvirt's XML of a Xen guest", "virsh -c xen:/// domxml-to-native xen-xm F"),
        ("<?xml version='1.0'?>\n<!--\nvirsh edit a\n-->\n<domain type=\"xen\"></domain>", "libvirt's XML", "virsh"),
        ("<domstatus state='running'><domain type='xen'/></domstatus>", "libvirt's XML", "virsh"),
        ("<domain type='kvm'><name>a</name></domain>", "of kvm, not of Xen", "names the right file"),
        ("<Envelope xmlns='http://schemas.dmtf.org/ovf/envelope/1'/>", "XML", "names the right file"),
        ('.encoding = "UTF-8"\nconfig.version = "8"\nmemsize = "64"\n', "VMware's (VMX)", "VMware's already"),
        ("uuid ( RO)            : 5e0c\n   name-label ( RW): ledger\n", "XenServer's `xe`", "name, memory, vcpus, disk"),
        ((DATA / "xl-list.txt").read_text(), "a list of guests", "xl list -l NAME"),
        (" Id    Name              State\n----------\n 7     ledger   running\n", "a list of guests", "xl list -l NAME"),
        ((DATA / "xenstore-ls-f-2guests.txt").read_text(), "`xenstore-ls`", "name, memory, vcpus, disk"),
        ("# ours\n[domain]\nname = a\n", "in sections", "names the right file"),
        ("---\nname: a\nmemory: 64\n", "YAML", "KEY = VALUE"),
        ("name: a\nmemory: 64\n", "YAML", "KEY = VALUE"),
        ("config={'name': 'web', 'memory': 512}\n", "a dictionary", "a line of its own"),
        ("# ours\n{'name': 'web'}\n", "a dictionary", "a line of its own"),
        ("config = dict(name='web', memory=512)\n", "a dictionary", "a line of its own"),
        ('import os\nX = {\n  "disk": []\n}\nglobals().update(X)\n', "a dictionary", "a line of its own"),
        ("name = 'a'\nmemory = 64\n".encode("utf-16").decode("utf-8", "replace"), "UTF-16", "iconv"),
        ("Error: Unable to connect to xend: No such file. Is xend running?\n", "a tool printed when it failed", "take it again"),
        ("--- a/web\n+++ b/web\n@@ -1 +1 @@\n", "(diff)", "names the right file"),
        ("<!DOCTYPE html><html></html>", "HTML", "names the right file"),
        ("name = 'a'\nmemory = {{ memory }}\n", "a template of another program", "makes of it"),
        ("name = '<%= @name %>'\n", "a template of another program", "makes of it"),
        ("\x1f\ufffd\x08\0\0\0\x03abcdef", "no text", "names the right file"),
        ("LinuxGuestRecord\0\0\0\x04(vm (name a))", "memory of a saved guest", "names the right file"),
        ("\ufffd\0\0\0" * 8 + "x" * 400 + "\0", "no text", "names the right file"),
        ("name = '${NAME}'\nmemory = $MEM\n", "a template of another program", "makes of it"),
        ("name = 'a'\nmemory = %MEM%\n", "a template of another program", "makes of it"),
        # what says nothing of a guest
        *(
            (text, "no line that sets anything that Xen would make a guest of; it begins with ", FILE)
            for text in (
                *("/etc/xen/web01.cfg\n", "web01\n", "name,memory\nweb,512\n", "web.cfg:name='web'\nweb.cfg:memory=512\n"),
                *("xentop - 10:00:00   Xen 4.11\n2 domains: 1 running\n", "/dev/xvda1 / ext3 defaults 1 1\n", "null\n", "[]\n"),
                *("default=0\ntitle a\n kernel /vmlinuz\n", "#!/bin/sh\nvirt-install --name web --ram 512\n", "NAME=web\n"),
                *("xen::domu { 'web':\n  memory => 512,\n}\n", "     1\tname='web'\n     2\tmemory=512\n", "lang en_US\n"),
                *("#!/usr/bin/python\nimport os\nos.system('xl create web')\n", 'displayName = "x"\nmemsize = "512"\n'),
            )
        ),
        ("name = 'a'\n# done\rmemory = 64\n", "carriage return inside a line", "tr"),
    ],
    ids=lambda x: x[:16].strip() if x.isprintable() else "text",
)
def test_what_is_no_configuration_is_told_for_what_it_is_in_one_sentence(text: str, what: str, remedy: str) -> None:
    problem = refused(text)
    assert problem.code == "xen-configuration-unknown"
    assert what in problem.found
    assert remedy in problem.remedy


def test_what_xl_lists_of_devices_in_several_values_is_told() -> None:
    made: dict[str, dict[str, object]] = {
        "c_info": {"type": "hvm", "name": "web"},
        "b_info": {"max_vcpus": 1, "max_memkb": 65536, "bootloader_args": ["-q"]},
    }
    made["b_info"] |= {"type.hvm": {"usbdevice_list": ["host:1.3"]}, "extra_hvm": ["-drive", "file=/srv/geheim"]}
    rate = {"rate_bytes_per_interval": 62500, "rate_interval_usecs": 50000}
    devices = {
        "nics": [{"mac": "00:16:3e:00:00:01", **rate}],
        "channels": [{"devid": 0, "name": "org.qemu", "connection.socket": {"path": "/tmp/s"}}],
        "dtdevs": [{"path": "/soc/eth"}],
        "vdispls": [{"connectors": [{"id": "0"}]}],
        "vsnds": [{"pcms": [{"name": "a"}]}],
        "frobs": [{"x": 1}],
    }
    guest = parse(json.dumps([{"domid": 3, "config": {**made, **devices}}]), "F")
    told = {row["setting"]: row["value"] for row in config.rest(guest)}
    assert {"channel", "dtdev", "vdispl", "vsnd", "usbdevice", "bootloader_args", "frobs"} <= set(told)
    assert (told["usbdevice"], told["bootloader_args"], told["device_model_args_hvm"]) == ("host:1.3", "-q", "-drive")
    assert "connectors" in told["vdispl"]
    assert not {"c_info", "b_info"} & set(told)
    codes = [code for code, _ in behind.told(guest)]
    assert "nic-rate-limited" in codes
    assert guest.vifs[0].rate == "1250000B/s"


def test_an_empty_drive_of_xend_is_an_empty_cd_rom() -> None:
    text = "(domain (name web) (memory 64) (device (vbd (dev hdc:cdrom) (uname ) (mode r))))"
    assert [(d.vdev, d.target, d.cdrom) for d in parse(text, "F").disks] == [("hdc", "", True)]


@pytest.mark.parametrize(
    ("uname", "target", "image", "script"),
    [
        ("tap:aio:/srv/a,b.img", "/srv/a,b.img", "raw", ""),
        ("file:/srv/a,xvdb,w", "/srv/a,xvdb,w", "raw", ""),
        ("phy:vg0/a,b", "/dev/vg0/a,b", "raw", ""),
        ("tap:qcow2:/srv/a, b,c.img", "/srv/a, b,c.img", "qcow2", ""),
        ("/srv/format=vhd,x", "/srv/format=vhd,x", "raw", ""),
        ("drbd:r0,r1", "r0,r1", "raw", "block-drbd"),
        ("tap:aio:/srv/plain.img", "/srv/plain.img", "raw", ""),
    ],
)
def test_commas_in_a_target_of_xend_are_part_of_it(uname: str, target: str, image: str, script: str) -> None:
    text = f"(domain (name web) (memory 64) (device (vbd (uname '{uname}') (dev xvda:disk) (mode r))))"
    found = [(d.vdev, d.target, d.format, d.access, d.script) for d in parse(text, "F").disks]
    assert found == [("xvda", target, image, "r", script)]


def test_a_dictionary_beside_settings_is_passed_over() -> None:
    assert parse("name = 'a'\nmemory = 64\nconfig = {'name': 'b'}\ndisk = []\n", "F").name == "a"


@pytest.mark.parametrize(
    "said",
    [
        "[root@d ~]# xm list -l web\n",
        "WARNING: xend is old (mac 00:16:3e:00:00:01)\n",
        "Using <class 'grub.GrubConf.GrubConfigFile'> to parse /boot/grub/menu.lst\n",
    ],
)
@pytest.mark.parametrize(
    "listed",
    [
        "(domain (name web) (memory 64))\n",
        '[\n {"domid": 3, "config": {"c_info": {"name": "web"}, "b_info": {"max_memkb": 65536}}}\n]\n',
    ],
)
@pytest.mark.parametrize("after", ["", "[root@d ~]# \n", "root@d:~# "])
def test_what_a_terminal_has_around_a_listing_is_passed_over_and_told(said: str, listed: str, after: str) -> None:
    guest = parse(said + listed + after, "F")
    assert guest.name == "web"
    assert any(said[:20] in row["value"] for row in config.rest(guest))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("host                   : d\nrelease : 2.6\nxen_major              : 3\n", "xl info"),
        ("Vdev  BE  handle state evt-ch ring-ref BE-path\n51712 0 3 4 9 8 /local/domain/0/backend/vbd/3/51712\n", "block-list"),
        (
            "Idx BE Mac Addr.         handle state evt-ch   tx-/rx-ring-ref BE-path\n0 0 00:16:3e:00:00:01 0 4 -1 -1/-1 x\n",
            "network",
        ),
        ('tool = ""\n xenstored = ""\nvm = ""\n', "xenstore-ls"),
        ('autoballoon="off"\nvif.default.script="vif-bridge"\n', "xl.conf"),
        ("# x\nXENDOMAINS_AUTO=/etc/xen/auto\n", "xendomains"),
        ('displayName = "web"\nmemsize = "64"\nvirtualHW.version = "7"\n', "VMX"),
        ("", "an empty file"),
        ("\n# nothing\n", "nothing but comments"),
    ],
)
def test_other_outputs_and_settings_of_xen_are_named(text: str, what: str) -> None:
    found = refused(text)
    assert found.code == "xen-configuration-unknown"
    assert what in found.found


def listed(created: dict[str, object], built: dict[str, object], **more: object) -> XenGuest:
    config = {"c_info": {"type": "hvm", "name": "web", **created}, "b_info": {"max_memkb": 65536, "type.hvm": built}, **more}
    return parse(json.dumps([{"domid": 3, "config": config}]), "F")


def test_what_json_calls_otherwise_is_the_setting_of_that_meaning() -> None:
    guest = listed(
        {"driver_domain": "False", "pool_name": "rack"}, {"system_firmware": "/usr/share/OVMF.fd", "nested_hvm": "True"}
    )
    assert behind.by_uefi(guest) == {"bios_path_override": "/usr/share/OVMF.fd"}
    assert (guest.other["nestedhvm"], guest.other["pool"]) == (1, "rack")


@pytest.mark.parametrize(("word", "notes"), [("True", 1), ("False", 0), ("<default>", 0)])
def test_a_device_that_is_off_does_not_stay_behind(word: str, notes: int) -> None:
    assert len(list(behind.told(listed({}, {"gfx_passthru": word})))) == notes


def test_nics_stand_by_their_numbers_whatever_the_order_and_with_gaps() -> None:
    nics = [{"devid": 2, "mac": "00:16:3e:00:00:02"}, {"devid": 0, "mac": "00:16:3e:00:00:01"}]
    assert [v.mac[-1] for v in listed({}, {}, nics=nics).vifs] == ["1", "2"]
    vifs = "".join(f"(device (vif (mac 00:16:3e:00:00:0{n}) (devid {n})))" for n in (3, 1))
    assert [v.mac[-1] for v in parse(f"(domain (name web) (memory 64) {vifs})", "F").vifs] == ["1", "3"]
