"""What starts the source when its Dom-0 starts: found in the Dom-0's files, mounted or its own, and told with a way out."""

import os
from pathlib import Path

import pytest

from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0, Site
from hikkoshi.xen import autostart

DATA = Path(__file__).parents[1] / "data" / "xen"
WEB01 = (DATA / "web01.cfg").read_text()
OTHER = WEB01.replace("web01", "mail").replace(":01:0", ":09:0")
GUEST = Guest(name="web01", dom0="xenhost", config=Path("/etc/xen/web01.cfg"), nics=())
UUID = "731e47fd-9aa2-4a28-816e-f844cf53b22f"


@pytest.fixture
def mounted(home: Home) -> Path:
    """The root of a Dom-0, mounted at home/mnt, with two guests of which one is started by it."""
    root = home.root / "mnt"
    put(root, "/etc/xen/web01.cfg", WEB01)
    put(root, "/etc/xen/mail", OTHER)
    link(root, "/etc/xen/auto/mail", "/etc/xen/mail")
    return root


def put(root: Path, path: str, text: str) -> None:
    (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
    (root / path[1:]).write_text(text)


def link(root: Path, path: str, target: str) -> None:
    (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
    (root / path[1:]).symlink_to(target)


def site(home: Home, **others: str) -> Site:
    dom0s = {name: Dom0(root=Path(root)) for name, root in {"xenhost": "mnt", **others}.items()}
    return home.site().model_copy(update={"dom0s": dom0s})


def test_where_other_guests_only_are_started_nothing_is_red(home: Home, mounted: Path) -> None:
    check = autostart.check(home, site(home), GUEST)
    assert (check.ok, check.unseen, check.found) == (True, "", "nothing in /etc/xen/auto, nor elsewhere")


@pytest.mark.parametrize(
    ("name", "target"), [("web01", "/etc/xen/web01.cfg"), ("05 first", "../web01.cfg"), ("x", "../../xen/./web01.cfg")]
)
def test_a_link_to_the_configuration_is_red_with_the_command_that_removes_it(
    home: Home, mounted: Path, name: str, target: str
) -> None:
    link(mounted, f"/etc/xen/auto/{name}", target)
    check = autostart.check(home, site(home), GUEST)
    assert not check
    assert check.found == f"/etc/xen/auto/{name} on xenhost"
    quoted = f"'/etc/xen/auto/{name}'" if " " in name else f"/etc/xen/auto/{name}"
    assert check.remedy == f"type on xenhost: rm {quoted}"
    assert (mounted / "etc/xen/auto" / name).is_symlink()  # it is not removed from here


def test_before_a_cutover_every_start_is_told_and_in_it_one_is_enough(home: Home, mounted: Path) -> None:
    """To look at all scripts takes longest."""
    link(mounted, "/etc/xen/auto/web01", "/etc/xen/web01.cfg")
    put(mounted, "/etc/rc.local", "xm create web01.cfg\n")
    both = "/etc/xen/auto/web01 on xenhost; /etc/rc.local:1 on xenhost"
    assert autostart.check(home, site(home), GUEST, before=True).found == both
    assert autostart.check(home, site(home), GUEST).found == "/etc/xen/auto/web01 on xenhost"
    (mounted / "etc/xen/auto/web01").unlink()
    assert autostart.check(home, site(home), GUEST).found == "/etc/rc.local:1 on xenhost"


def test_what_is_no_link_is_moved_by_hand_and_never_removed(home: Home, mounted: Path) -> None:
    put(mounted, "/etc/xen/auto/copy", WEB01)
    assert autostart.check(home, site(home), GUEST).remedy == "type on xenhost: mv /etc/xen/auto/copy /root/"
    own = GUEST.model_copy(update={"config": Path("/etc/xen/auto/copy")})
    remedy = autostart.check(home, site(home), own).remedy
    assert remedy == "type on xenhost: mv /etc/xen/auto/copy /etc/xen/   and correct the path in the guest's parameters"


@pytest.mark.parametrize(
    "text",
    [
        WEB01,
        OTHER.replace("'mail'", "'x'").replace('"mail"', '"web01"'),
        OTHER.replace("00:16:3e:00:09:02", "00:16:3E:00:01:02"),
        OTHER.replace("/srv/xen/mail/disk.img", "/srv/xen/web01/disk.img"),
        "import os\nname = 'web01'  # code\n",
        "import os\nvif = [ 'mac=00:16:3E:00:01:01' ]\n",
    ],
    ids=["same", "name", "mac", "disk", "name among code", "mac among code"],
)
def test_a_copy_of_the_configuration_is_red_by_name_mac_and_disk(home: Home, mounted: Path, text: str) -> None:
    put(mounted, "/etc/xen/auto/anything", text)
    assert autostart.check(home, site(home), GUEST).found == "/etc/xen/auto/anything on xenhost"


@pytest.mark.parametrize(
    "text", ["", "import os\nname = 'web012'\n", "\0" * 100, OTHER, "name = 'web01", OTHER.replace("320", "x")]
)
def test_what_is_of_another_guest_or_of_none_is_not_red(home: Home, mounted: Path, text: str) -> None:
    put(mounted, "/etc/xen/auto/anything", text)
    if text == "name = 'web01":  # broken, and meant for this guest: rather red than missed
        assert not autostart.check(home, site(home), GUEST)
    else:
        assert autostart.check(home, site(home), GUEST)


def test_what_is_no_file_is_not_opened(home: Home, mounted: Path) -> None:
    os.mkfifo(mounted / "etc/xen/auto/pipe")
    link(mounted, "/etc/xen/auto/nothing", "/etc/xen/none")
    link(mounted, "/etc/xen/auto/circle", "circle")
    (mounted / "etc/xen/auto/folder").mkdir()
    check = autostart.check(home, site(home), GUEST)
    assert (check.ok, check.unseen) == (True, "not seen")
    assert "circle" in check.found
    link(mounted, "/etc/xen/auto/web01", "/etc/xen/web01.cfg")
    assert autostart.check(home, site(home), GUEST).found == "/etc/xen/auto/web01 on xenhost"


@pytest.mark.parametrize("settings", ["/etc/default/xendomains", "/etc/sysconfig/xendomains"])
def test_xendomains_may_look_in_another_folder(home: Home, mounted: Path, settings: str) -> None:
    put(mounted, settings, '# XENDOMAINS_AUTO=/none\nXENDOMAINS_AUTO="/srv/auto" # ours\nXENDOMAINS_SAVE=/srv/save\n')
    link(mounted, "/srv/auto/web01", "/etc/xen/web01.cfg")
    put(mounted, "/srv/save/web01", "saved")
    check = autostart.check(home, site(home), GUEST)
    assert check.found == "/srv/auto/web01 on xenhost; /srv/save/web01 on xenhost"
    assert "mv /srv/save/web01 /root/" in check.remedy


def test_a_folder_that_is_computed_is_not_looked_at_and_told(home: Home, mounted: Path) -> None:
    put(mounted, "/etc/default/xendomains", "XENDOMAINS_AUTO=$XEN/auto\n")
    check = autostart.check(home, site(home), GUEST)
    assert (check.ok, check.unseen, "is computed" in check.found) == (True, "not seen", True)


def test_a_guest_that_was_saved_at_shutdown_is_red(home: Home, mounted: Path) -> None:
    put(mounted, "/var/lib/xen/save/web01", "saved")
    assert autostart.check(home, site(home), GUEST).remedy == "type on xenhost: mv /var/lib/xen/save/web01 /root/"


@pytest.mark.parametrize(
    ("sxp", "red"),
    [
        (f"(domain (name web01) (uuid {UUID}) (on_xend_start start))", True),
        (f"(domain (name other) (uuid {UUID}) (on_xend_start start) (device (vif (mac 00:16:3E:00:01:01))))", True),
        ("(domain (name other) (on_xend_start 'start') (device (tap (uname tap:aio:/srv/xen/web01/disk.img))))", True),
        ("(domain\n    (name web01)\n    (on_xend_start start)\n    (broken", True),
        (f"(domain (name web01) (uuid {UUID}) (on_xend_start ignore))", False),
        (f"(domain (name other) (uuid {UUID}) (on_xend_start start))", False),
    ],
)
def test_a_guest_that_xend_starts_is_red(home: Home, mounted: Path, sxp: str, red: bool) -> None:
    put(mounted, f"/var/lib/xend/domains/{UUID}/config.sxp", sxp)
    check = autostart.check(home, site(home), GUEST)
    assert (not check) == red
    if red:
        assert f"xm delete {UUID}" in check.remedy
        assert "on_xend_start ignore" in check.remedy


def test_a_guest_that_libvirt_starts_is_red(home: Home, mounted: Path) -> None:
    xml = "<domain type='xen'><name>web</name><interface><mac address='00:16:3E:00:01:01'/></interface></domain>"
    put(mounted, "/etc/libvirt/libxl/web.xml", xml)
    link(mounted, "/etc/libvirt/libxl/autostart/web.xml", "/etc/libvirt/libxl/web.xml")
    assert autostart.check(home, site(home), GUEST).remedy == "type on xenhost: virsh -c xen:/// autostart --disable web"


def test_every_dom0_is_looked_at_and_one_that_cannot_be_is_named(home: Home, mounted: Path) -> None:
    put(home.root / "two", "/etc/xen/auto/a", WEB01)
    put(home.root / "two", "/etc/xen/auto/b", OTHER.replace("/srv/xen/mail/disk.img", "/srv/xen/web01/disk.img"))
    both = site(home, xen2="two", xen3="nowhere")
    check = autostart.check(home, both, GUEST)
    assert check.found == "/etc/xen/auto/a on xen2"  # a disk of another Dom-0 has the same path, and is another
    (home.root / "two/etc/xen/auto/a").unlink()
    check = autostart.check(home, both, GUEST)
    assert (check.ok, check.unseen) == (True, "not seen")
    assert "xen3: the Dom-0's folder is not there" in check.found


def test_the_dom0_that_is_this_machine_is_looked_at_too(home: Home, tmp_path: Path) -> None:
    put(tmp_path, "/web01.cfg", WEB01)
    here = home.site().model_copy(update={"dom0s": {"xenhost": Dom0(root=Path("/"))}})
    own = GUEST.model_copy(update={"config": tmp_path / "web01.cfg"})
    assert autostart.check(home, here, own)  # this machine has no /etc/xen/auto


def test_after_a_rollback_it_is_told_and_never_red(home: Home, mounted: Path) -> None:
    told = autostart.told(home, site(home), GUEST)
    assert told
    assert "ln -s /etc/xen/web01.cfg /etc/xen/auto/" in told.found
    link(mounted, "/etc/xen/auto/web01", "/etc/xen/web01.cfg")
    assert autostart.told(home, site(home), GUEST).found == "yes, by /etc/xen/auto/web01 on xenhost"
    assert autostart.told(home, site(home, xenhost="nowhere"), GUEST).unseen == "not seen"


CIB = """<cib epoch="4"><configuration><crm_config>{options}</crm_config><resources>
<primitive id="fs" class="ocf" type="Filesystem"><nvpair name="device" value="/dev/vg0/web01"/></primitive>
<group id="g">{meta}<primitive id="{id}" class="ocf" provider="heartbeat" type="Xen"><instance_attributes id="i">
<nvpair id="x" name="xmfile" value="{path}"/></instance_attributes></primitive></group></resources>
<constraints><rsc_location id="c" rsc="web01" node="xenhost"/></constraints></configuration></cib>
"""
OFF = '<meta_attributes id="m"><nvpair id="n" name="{}" value="{}"/></meta_attributes>'


def cib(name: str = "web01", path: str = "/etc/xen/web01.cfg", meta: str = "", options: str = "") -> str:
    return CIB.format(id=name, path=path, meta=meta, options=options)


STARTED = {
    "pacemaker": ("/var/lib/pacemaker/cib/cib.xml", cib()),
    "pacemaker, by a copy": ("/var/lib/pacemaker/cib/cib.xml", cib("www", "/srv/copy.cfg")),
    "pacemaker, short": (
        "/var/lib/pacemaker/cib/cib.xml",
        '<cib><primitive id="web01" class="ocf" provider="heartbeat" type="Xen"><nvpair name="xmfile" '
        'value="/etc/xen/web01.cfg"/></primitive></cib>',
    ),
    "pacemaker, by libvirt": ("/var/lib/pacemaker/cib/cib.xml", cib("vm", "/etc/libvirt/libxl/web01.xml")),
    "pacemaker, no XML": ("/var/lib/pacemaker/cib/cib.xml", '<cib><primitive id="web01" type="Xen">'),
    "heartbeat 2": ("/var/lib/heartbeat/crm/cib.xml", '<nvpair name="xmfile" value="/etc/xen/web01.cfg"/>'),
    "heartbeat": ("/etc/ha.d/haresources", "# web\nnode1 drbddisk::r0 \\\n  Xen::web01\n"),
    "heartbeat, by its file": ("/etc/ha.d/haresources", "node1 Xen::/srv/copy.cfg\n"),
    "rgmanager": (
        "/etc/cluster/cluster.conf",
        '<cluster><rm><vm name="web01" path="/etc/xen" autostart="1" recovery="restart"/></rm></cluster>',
    ),
    "ganeti": ("/var/lib/ganeti/config.data", '{"instances": {"u": {"name": "web01", "admin_state": "up"}}}'),
    "rc.local": ("/etc/rc.local", "#!/bin/sh\nxm create /etc/xen/web01.cfg\n"),
    "rc.local, in /etc/xen": ("/etc/rc.d/rc.local", "xm create web01.cfg >/dev/null 2>&1\n"),
    "rc.local, by a copy": ("/etc/rc.local", "/usr/sbin/xl -f create -q /srv/copy.cfg\n"),
    "a loop": ("/etc/rc.local", "for g in mail web01; do\n  sleep 5; xm create /etc/xen/$g.cfg\ndone\n"),
    "a loop over a folder": ("/etc/init.d/boot.local", "for f in /srv/*.cfg; do xl create $f; done\n"),
    "a variable": ("/etc/init.d/guests", "XM=/usr/sbin/xm\n$XM create web01\n"),
    "a script of its own": ("/etc/rc.local", "/root/start-guests now\n"),
    "restored": ("/etc/rc.local", "xm restore /backup/web01.chk\n"),
    "a unit": ("/etc/systemd/system/web01.service", "[Service]\nExecStart=/usr/sbin/xl create /etc/xen/web01.cfg\n"),
    "an instance of a unit": (
        "/etc/systemd/system/multi-user.target.wants/xen@web01.service",
        "[Service]\nExecStart=/usr/sbin/xl create /etc/xen/%i.cfg\n",
    ),
    "cron": ("/etc/cron.d/xen", "@reboot root xl create /etc/xen/web01.cfg\n"),
    "a watchdog": ("/var/spool/cron/tabs/root", "*/5 * * * * xm list web01 >/dev/null || xm create web01\n"),
    "virsh": ("/etc/rc.local", "virsh -c xen:/// start web01\n"),
    "monit": ("/etc/monit.d/web01", 'check host web01 with address 192.0.2.1\n  start program = "/usr/sbin/xm create web01"\n'),
    "inittab": ("/etc/inittab", "x1:3:respawn:/usr/sbin/xm create -c web01\n"),
    "a variable with its file": ("/etc/rc.local", "CFG=/srv/copy.cfg\nxl create $CFG\n"),
    "a folder that it goes to": ("/etc/rc.local", "cd /srv\nxl create copy.cfg\n"),
    "the toolstack of Debian": ("/etc/rc.local", "$TOOLSTACK create web01.cfg\n"),
    "a file that it makes": ("/etc/rc.local", "printf 'name=\"web01\"\\n' > /tmp/x.cfg\nxl create /tmp/x.cfg\n"),
    "xe": ("/etc/rc.local", "xe vm-start name-label=web01\n"),
    "a script of a script": ("/etc/rc.local", "/root/all\n"),
    "a job of at": ("/var/spool/at/a00001", "#!/bin/sh\nxl create /etc/xen/web01.cfg\n"),
    "keepalived": ("/etc/keepalived/keepalived.conf", 'vrrp_instance V {\n  notify_master "/root/start-guests"\n}\n'),
    "DRBD": ("/etc/drbd.d/r0.res", 'resource r0 { handlers { after-resync-target "/root/start-guests"; } }\n'),
    "a rule of udev's": ("/etc/udev/rules.d/99-up.rules", 'ACTION=="add", RUN+="/usr/sbin/xl create /etc/xen/web01.cfg"\n'),
    "Veritas": ("/etc/VRTSvcs/conf/config/main.cf", 'Xen dom1 (\n  XmFile = "/etc/xen/web01.cfg"\n)\n'),
    "pacemaker, by libvirt, elsewhere": ("/var/lib/pacemaker/cib/cib.xml", cib("vm", "/srv/w.xml")),
    "Python, in a loop": ("/etc/cron.hourly/guests", "for g in ['web01']:\n    subprocess.call(['xl', 'create', g])\n"),
    "Python": ("/etc/cron.hourly/guests", '#!/usr/bin/python\nsubprocess.call(["xl", "create", "/etc/xen/web01.cfg"])\n'),
}


@pytest.mark.parametrize(("path", "text"), STARTED.values(), ids=STARTED)
def test_a_cluster_or_a_script_that_starts_the_guest_is_red_and_says_where(
    home: Home, mounted: Path, path: str, text: str
) -> None:
    put(mounted, "/srv/copy.cfg", WEB01.replace("web01", "other"))  # with its MACs
    put(mounted, "/srv/w.xml", "<domain type='xen'><name>web01</name></domain>")
    put(mounted, "/root/start-guests", "#!/bin/sh\nxm create web01\n")
    put(mounted, "/root/all", "#!/bin/sh\n/root/start-guests &\n")
    put(mounted, path, text)
    check = autostart.check(home, site(home), GUEST)
    assert not check
    assert ("/root/start-guests:2" if "/root/" in text else path) in check.found
    assert "on xenhost" in check.remedy


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/rc.local", "#!/bin/sh\n# xm create /etc/xen/web01.cfg\nxm create /etc/xen/mail\nxm list web01\n"),
        ("/etc/rc.local", "lvcreate -s /dev/vg0/web01  # xm create web01\nxm shutdown web01\n"),
        ("/etc/rc.local", "xm create web012; xm create old-web01; xm create web01.old.cfg; echo web01\n"),
        ("/etc/init.d/xendomains", 'for dom in $AUTO/*; do xm create --quiet --defconfig "$dom"; done\n'),
        ("/etc/cron.d/backup", "0 3 * * * root rsync /srv/xen/web01 backup:\n"),
        ("/etc/systemd/system/web01-backup.service", "[Service]\nExecStart=/usr/bin/rsync web01 backup:\n"),
        ("/etc/systemd/system/xen@.service", "[Service]\nExecStart=/usr/sbin/xl create /etc/xen/%i.cfg\n"),
        ("/etc/cluster/cluster.conf.old", '<rm><vm name="web01"/></rm>'),
    ],
)
def test_what_starts_another_guest_or_none_is_not_red(home: Home, mounted: Path, path: str, text: str) -> None:
    put(mounted, path, text)
    check = autostart.check(home, site(home), GUEST)
    assert (check.ok, check.unseen) == (True, ""), check.found


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/var/lib/pacemaker/cib/cib.xml", cib("mail", "/etc/xen/mail")),
        ("/var/lib/pacemaker/cib/cib.xml", cib(meta=OFF.format("is-managed", "false"))),
        ("/var/lib/pacemaker/cib/cib.xml", cib(meta=OFF.format("target-role", "Stopped"))),
        (
            "/var/lib/pacemaker/cib/cib.xml",
            cib(options='<cluster_property_set id="o"><nvpair name="maintenance-mode" value="true"/></cluster_property_set>'),
        ),
        ("/etc/ha.d/haresources", "node1 Xen::mail\n# node1 Xen::web01\n"),
        ("/etc/cluster/cluster.conf", '<cluster><!-- <rm><vm name="web01"/></rm> --><rm><vm name="mail"/></rm></cluster>'),
        ("/var/lib/ganeti/config.data", '{"instances": {"u": {"name": "web01", "admin_state": "down"}}}'),
        ("/etc/corosync/corosync.conf", "totem {\n}\n"),
        ("/etc/VRTSvcs/conf/config/main.cf", ""),
        ("/etc/rc.local", "for f in $(cat /etc/guests); do xl create $f; done\n"),
        ("/etc/rc.local", "find /etc/guests -name '*.cfg' -exec xl create {} \\;\n"),
        ("/etc/rc.local", "xl create /srv/not-mounted/first.cfg\n"),
        ("/etc/rc.local", "cd $HOME/guests && xl create first.cfg\n"),
        ("/etc/rc.local", "ssh keeper cat first.cfg | xl create /dev/stdin\n"),
        ("/etc/xensource-inventory", "PRODUCT_NAME='xenenterprise'\n"),
        ("/var/lib/libvirt/libvirt-guests", "default 0f7b2cd1-5c5e-4d0e-9a62-2b8f4a6f0c11\n"),
    ],
)
def test_a_cluster_that_does_not_name_the_guest_is_not_known(home: Home, mounted: Path, path: str, text: str) -> None:
    put(mounted, path, text)
    check = autostart.check(home, site(home), GUEST)
    assert (check.ok, check.unseen) == (True, "not seen"), check.found
    assert path in check.found


def test_a_link_to_a_file_on_a_disk_that_is_not_mounted_is_not_known(home: Home, mounted: Path) -> None:
    link(mounted, "/etc/xen/auto/first", "/srv/not-mounted/first.cfg")
    check = autostart.check(home, site(home), GUEST)
    assert (check.ok, check.unseen) == (True, "not seen")
    assert "/etc/xen/auto/first leads to a file that is not there" in check.found


def test_libvirts_list_of_guests_to_start_again_is_read(home: Home, mounted: Path) -> None:
    put(mounted, "/etc/xen/web01.cfg", f"{WEB01}uuid = '{UUID}'\n")
    put(mounted, "/var/lib/libvirt/libvirt-guests", f"xen:/// 0f7b2cd1-5c5e-4d0e-9a62-2b8f4a6f0c11 {UUID}\n")
    assert autostart.check(home, site(home), GUEST).found == "/var/lib/libvirt/libvirt-guests:1 on xenhost"


def test_the_folder_of_alpine_and_gentoo_is_looked_at(home: Home, mounted: Path) -> None:
    put(mounted, "/etc/conf.d/xendomains", "AUTODIR=/srv/xen/auto\n")
    link(mounted, "/srv/xen/auto/web01", "/etc/xen/web01.cfg")
    assert autostart.check(home, site(home), GUEST).found == "/srv/xen/auto/web01 on xenhost"
