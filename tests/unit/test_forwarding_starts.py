"""Whatever a guest starts is heard where it passes packets on: links, units, hooks, jobs, tunnels, firewalls, containers."""

import fnmatch
import itertools

import pytest

from hikkoshi.guest import inspection
from hikkoshi.guest.forwarding import forwarding

SYSCTL = "net.ipv4.ip_forward = 1\n"
SCRIPT = "#!/bin/sh\necho 1 > /proc/sys/net/ipv4/ip_forward\n"
WANTS = "/etc/systemd/system/multi-user.target.wants"
UNIT = "[Service]\nExecStart=/sbin/sysctl -w net.ipv4.ip_forward=1\n"
MASQUERADE = "*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n"
FIREWALLD, NETWORKD = {f"{WANTS}/firewalld.service": ""}, {f"{WANTS}/systemd-networkd.service": ""}
INTERFACES, LIBVIRT = "/etc/network/interfaces", "/etc/libvirt/qemu/networks/autostart/a.xml"

ON: dict[str, dict[str, str]] = {
    "Debian's rcS": {"/etc/init.d/firewall": SCRIPT, "/etc/rcS.d/S41firewall": ""},
    "SUSE's boot.d": {"/etc/init.d/fw": SCRIPT, "/etc/init.d/boot.d/S12fw": ""},
    "a runlevel of OpenRC": {"/etc/init.d/router": f"start() {{\n{SCRIPT}}}\n", "/etc/runlevels/default/router": ""},
    "a drop-in": {
        "/etc/systemd/system/ssh.service.d/r.conf": UNIT,
        f"{WANTS}/ssh.service": "[Service]\nExecStart=/usr/sbin/sshd\n",
    },
    "a drop-in of what is read elsewhere": {
        "/etc/systemd/system/NetworkManager.service.d/r.conf": UNIT.replace("Start", "StartPost"),
        f"{WANTS}/NetworkManager.service": "",
    },
    "systemd's temporary files": {"/etc/tmpfiles.d/fw.conf": "w /proc/sys/net/ipv4/ip_forward - - - - 1\n"},
    "inittab": {"/etc/inittab": "id:3:initdefault:\nfw:2345:once:/sbin/sysctl -w net.ipv4.ip_forward=1\n"},
    "rc.sysinit": {"/etc/rc.d/rc.sysinit": SCRIPT},
    "modules that are scripts": {"/etc/sysconfig/modules/fw.modules": SCRIPT},
    "before a NIC is up": {"/etc/NetworkManager/dispatcher.d/pre-up.d/10-fw": SCRIPT},
    "a hook of dhclient": {"/etc/dhcp/dhclient-exit-hooks.d/fw": "sysctl -w net.ipv4.ip_forward=1\n"},
    "the hook of dhclient": {"/etc/dhclient-exit-hooks": "sysctl -w net.ipv4.ip_forward=1\n"},
    "ifup-pre-local": {"/sbin/ifup-pre-local": SCRIPT},
    "tinc": {"/etc/tinc/vpn/tinc-up": SCRIPT},
    "openvpn's own script, changed": {"/etc/init.d/openvpn": f"start)\n{SCRIPT};;\n", "/etc/rc3.d/S24openvpn": ""},
    "openvpn-startup": {"/etc/openvpn/openvpn-startup": SCRIPT},
    "cloud-init, at every start": {"/var/lib/cloud/scripts/per-boot/fw.sh": SCRIPT},
    "lxc-net, as its script has it": {f"{WANTS}/lxc-net.service": ""},
    "lxc of upstart": {"/etc/init/lxc-net.conf": "start on x\n", "/etc/default/lxc": 'USE_LXC_BRIDGE="true"\n'},
    "ufw's own rules": {"/etc/ufw/before.rules": MASQUERADE, "/etc/ufw/ufw.conf": "ENABLED=yes\n"},
    "an interface's own switch": {INTERFACES: "iface eth0 inet dhcp\n up sysctl -w net.ipv4.conf.$IFACE.forwarding=1\n"},
    "ifupdown-ng": {INTERFACES: "iface eth0\n address 10.0.0.1/24\n forward-ipv4 yes\n"},
    "a script for every NIC": {"/etc/network/if-up.d/fw": "echo 1 > /proc/sys/net/ipv4/conf/$IFACE/forwarding\n"},
    "rules that a script loads": {
        INTERFACES: "iface eth0 inet dhcp\n pre-up iptables-restore < /etc/firewall.conf\n",
        "/etc/firewall.conf": MASQUERADE,
    },
    "Arch's rules": {"/etc/iptables/iptables.rules": MASQUERADE},
    "Alpine's rules": {"/etc/iptables/rules-save": MASQUERADE},
    "Red Hat Linux, with a remark": {"/etc/sysconfig/network": "FORWARD_IPV4=true # router\n"},
    "openswan, with a remark": {"/etc/ipsec.conf": 'config setup\n forwardcontrol="yes" # nat\n', "/etc/rc3.d/S47ipsec": ""},
    "networkd's own folder": {"/usr/lib/systemd/network/50-lan.network": "[Network]\nIPMasquerade=ipv4\n", **NETWORKD},
    "NetworkManager's own folder": {"/usr/lib/NetworkManager/system-connections/a.nmconnection": "[ipv4]\nmethod=shared\n"},
    "a tag over lines": {
        "/etc/firewalld/zones/public.xml": '<zone>\n<forward-port port="80"\n to-addr="10.0.0.2"/>\n</zone>',
        **FIREWALLD,
    },
    "blanks around the zone": {"/etc/firewalld/firewalld.conf": "DefaultZone = external\n", **FIREWALLD},
}
OFF: dict[str, dict[str, str]] = {
    "docker's drop-in": {
        "/etc/systemd/system/docker.service.d/r.conf": "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd --ip-forward=false\n",
        f"{WANTS}/docker.service": "",
    },
    "Enterprise Linux 7's docker": {"/etc/sysconfig/docker": "OPTIONS='--ip-forward=false'\n", f"{WANTS}/docker.service": ""},
    "a unit whose command is taken back": {f"{WANTS}/r.service": f"{UNIT}ExecStart=\nExecStart=/bin/true\n"},
    "ufw is off": {"/etc/ufw/before.rules": MASQUERADE, "/etc/ufw/ufw.conf": "ENABLED=no\n"},
    "lxc's bridge is off": {f"{WANTS}/lxc-net.service": "", "/etc/sysconfig/lxc-net": 'USE_LXC_BRIDGE="false"\n'},
    "networkd switches it off": {
        "/etc/systemd/networkd.conf": "[Network]\nIPv4Forwarding=no\n",
        "/etc/sysctl.conf": SYSCTL,
        **NETWORKD,
    },
    "networkd switches one off": {
        "/etc/systemd/network/a.network": "[Match]\nName=eth0\n[Network]\nIPv4Forwarding=no\n",
        "/etc/sysctl.conf": "net.ipv4.conf.eth0.forwarding=1\n",
        **NETWORKD,
    },
    "systemd's own, for containers": {
        "/usr/lib/systemd/network/80-container-ve.network": "[Network]\nIPMasquerade=both\n",
        **NETWORKD,
    },
    "a bridge over lines": {LIBVIRT: "<network>\n<forward\n mode='bridge'/></network>\n", f"{WANTS}/libvirtd.service": ""},
    "ifupdown-ng, not": {INTERFACES: "iface eth0\n forward-ipv4 no\n"},
    "ports of one's own": {"/etc/sysconfig/iptables": "*nat\n-A PREROUTING -p tcp -j REDIRECT --to-ports 8080\n"},
    "the distribution's inittab": {
        "/etc/inittab": "si::sysinit:/etc/rc.d/rc.sysinit\nl3:3:wait:/etc/rc.d/rc 3\nS0:3:respawn:/sbin/agetty ttyS0\n",
        "/etc/rc.d/rc.sysinit": "[ -x /etc/rc.modules ] && /etc/rc.modules\nsysctl -e -p /etc/sysctl.conf >/dev/null 2>&1\n",
    },
    "the distribution's tunnel": {"/etc/ipsec.conf": "conn a\n leftupdown=/usr/libexec/ipsec/_updown\n"},
}
OPEN: dict[str, dict[str, str]] = {
    "openvpn's server of its own": {f"{WANTS}/openvpnas.service": ""},
    "when ppp comes up": {"/etc/ppp/ip-up.local": SCRIPT},
    "every hour": {"/etc/cron.hourly/fw": SCRIPT},
    "cloud-init's configuration": {"/etc/cloud/cloud.cfg.d/99-r.cfg": "bootcmd:\n - sysctl -w net.ipv4.ip_forward=1\n"},
    "podman's quadlets": {"/etc/containers/systemd/web.container": "[Container]\nImage=nginx\n"},
    "containers of systemd": {"/etc/systemd/system/machines.target.wants/systemd-nspawn@web.service": ""},
    "shorewall from elsewhere": {f"{WANTS}/shorewall-lite.service": ""},
    "arno's firewall": {"/etc/rc2.d/S20arno-iptables-firewall": ""},
    "what a unit prints": {
        f"{WANTS}/r.service": "[Service]\nExecStart=/bin/echo 1\nStandardOutput=file:/proc/sys/net/ipv4/ip_forward\n"
    },
    "a drop-in of what may not be started": {"/etc/systemd/system/ssh.service.d/r.conf": UNIT},
    "a profile of tuned 2.24": {"/etc/tuned/profiles/r/tuned.conf": f"[sysctl]\n{SYSCTL}", "/etc/tuned/active_profile": "r\n"},
    "a default of NetworkManager's": {"/etc/NetworkManager/conf.d/fw.conf": "[connection]\nipv4.forwarding=1\n"},
    "a tunnel's script": {"/etc/ipsec.conf": "conn a\n  leftupdown=/etc/ipsec.d/updown.sh\n"},
    "a child's script": {"/etc/swanctl/conf.d/a.conf": "children { b {\n updown = /usr/local/sbin/updown.sh\n}}\n"},
    "rules that nobody read": {INTERFACES: "iface eth0 inet dhcp\n pre-up iptables-restore < /srv/fw\n"},
    "zebra, without a word": {"/etc/frr/frr.conf": "frr version 8.4\nrouter ospf\n", "/etc/frr/daemons": "zebra=yes\n"},
}


@pytest.mark.parametrize(
    ("files", "right"),
    [*((f, True) for f in ON.values()), *((f, False) for f in OFF.values()), *((f, None) for f in OPEN.values())],
    ids=[*ON, *OFF, *OPEN],
)
def test_what_is_started_counts_and_what_is_not_read_leaves_it_open(files: dict[str, str], right: bool | None) -> None:
    found, because = forwarding.of(files)
    assert found is right, because


def test_every_file_that_is_asked_is_one_that_is_read() -> None:
    asked = (*inspection.TEXTS, *inspection.PRESENT)
    for path in itertools.chain(*(case for cases in (ON, OFF, OPEN) for case in cases.values())):
        assert any(fnmatch.fnmatchcase(path, p) and p.count("/") == path.count("/") for p in asked), path
