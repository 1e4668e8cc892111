"""Whether a guest forwards, by its files: what is switched last at a start counts; what they leave open is not known."""

import fnmatch
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.guest import inspection
from hikkoshi.guest.forwarding import forwarding

ON, OFF = "net.ipv4.ip_forward = 1\n", "net.ipv4.ip_forward = 0\n"
CONF = "/etc/sysctl.conf"
WANTS = "/etc/systemd/system/multi-user.target.wants"
MASQUERADE = "*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n"


def said(**files: str) -> bool | None:
    return forwarding.of(files)[0]


@pytest.mark.parametrize(
    "line",
    [
        "net.ipv4.ip_forward=1",
        "  net.ipv4.ip_forward =  1  ",
        "-net.ipv4.ip_forward = 1",
        "net/ipv4/ip_forward = 1",
        "net.ipv4.conf.all.forwarding = 1",
        "net/ipv4/conf/all/forwarding=1",
        "net.ipv4.conf.*.forwarding = 1",
        "net.ipv4.conf.eth0.forwarding = 1",
        "net/ipv4/conf/eth0.100/forwarding = 1",
        "net.ipv4.conf.eth0/100.forwarding = 1",
        "net.ipv6.conf.all.forwarding = 1",
        "net.ipv6.conf.eth0.force_forwarding = 1",
        "net.ipv4.ip_forward = 2",
        "net.ipv4.ip_forward = 0x1",
        "net.ipv4.ip_forward = 1 # router",
    ],
)
def test_a_line_of_sysctl_switches_it_on(line: str) -> None:
    found, because = forwarding.of({CONF: f"{OFF}{line}\n"})
    assert found is True
    assert because == f"{line.strip()} in {CONF}"


@pytest.mark.parametrize(
    "line",
    [
        "#net.ipv4.ip_forward = 1",
        " ; net.ipv4.ip_forward = 1",
        "net.ipv4.ip_forward = 00",
        "net.ipv4.ip_forward = yes",  # the kernel refuses it
        "net.ipv4.ip_forward 1",
        "net.ipv4.ip_forward_use_pmtu = 1",
        "net.ipv4.conf.lo.forwarding = 1",
        "net.ipv4.conf.all.mc_forwarding = 1",
        "net.ipv6.conf.eth0.forwarding = 1",  # of IPv6 the switch for all passes packets on, and no other
        "net.ipv6.conf.default.forwarding = 1",
        "net.ipv4.conf.eth0.100.forwarding = 1",  # five words behind conf: no key
    ],
)
def test_other_lines_do_not(line: str) -> None:
    assert forwarding.of({CONF: f"{line}\n"})[0] is False


def test_what_is_switched_last_counts() -> None:
    assert said(**{CONF: ON + OFF}) is False
    assert said(**{CONF: OFF + ON}) is True
    assert said(**{CONF: "net.ipv4.conf.eth0.forwarding=1\nnet.ipv4.conf.all.forwarding=0\n"}) is False
    assert said(**{CONF: "net.ipv4.conf.all.forwarding=1\nnet.ipv4.conf.eth0.forwarding=0\n"}) is True
    assert said(**{CONF: "net.ipv6.conf.all.forwarding=1\n" + OFF}) is True
    assert said(**{CONF: ON, "/etc/rc.local": "#!/bin/sh\necho 0 > /proc/sys/net/ipv4/ip_forward\nexit 0\n"}) is False


def test_files_of_sysctl_are_read_by_name_whatever_their_folder_and_sysctl_conf_last() -> None:
    assert said(**{"/usr/lib/sysctl.d/90-a.conf": ON, "/etc/sysctl.d/10-b.conf": OFF}) is True
    assert said(**{"/usr/lib/sysctl.d/10-a.conf": ON, "/etc/sysctl.d/90-b.conf": OFF}) is False
    assert said(**{"/usr/lib/sysctl.d/50-a.conf": ON, "/etc/sysctl.d/50-a.conf": "# hidden\n"}) is False
    assert said(**{"/lib/sysctl.d/50-a.conf": OFF, "/usr/local/lib/sysctl.d/50-a.conf": ON}) is True
    assert said(**{"/etc/sysctl.d/99-zz.conf": ON, CONF: OFF}) is False
    assert said(**{"/etc/sysctl.d/99-sysctl.conf": ON, CONF: ON, "/etc/sysctl.d/99-tail.conf": OFF}) is True
    assert said(**{"/etc/sysctl.d/router.conf.rpmsave": ON}) is False
    assert said(**{"/etc/sysctl.d/README": ON, "/etc/debian_version": "7.1\n"}) is False


def test_systemd_reads_sysctl_conf_by_a_link_alone() -> None:
    assert forwarding.of({CONF: ON}, systemd=True, linked=True)[0] is True
    found, because = forwarding.of({CONF: ON}, systemd=True, linked=False)
    assert found is None
    assert "99-sysctl.conf" in because
    assert forwarding.of({CONF: OFF}, systemd=True, linked=False)[0] is False


ELSEWHERE = {
    "RHL": {"/etc/sysconfig/network": "NETWORKING=yes\nFORWARD_IPV4=yes\n"},
    "EL IPv6": {"/etc/sysconfig/network": "NETWORKING_IPV6=yes\nIPV6FORWARDING=yes\n"},
    "SUSE": {"/etc/sysconfig/sysctl": 'IP_FORWARD="yes"\nIPV6_FORWARD="no"\n'},
    "Debian 3.1": {"/etc/network/options": "ip_forward=yes\nspoofprotect=yes\n", "/etc/debian_version": "3.1\n"},
    "ufw": {"/etc/ufw/sysctl.conf": "net/ipv4/ip_forward=1\n", "/etc/ufw/ufw.conf": "ENABLED=yes\n"},
    "firewalld": {"/etc/firewalld/zones/external.xml": "<zone>\n  <masquerade/>\n</zone>\n", f"{WANTS}/firewalld.service": ""},
    "shorewall": {
        "/etc/shorewall/shorewall.conf": "STARTUP_ENABLED=Yes\nIP_FORWARDING=On\n",
        "/etc/default/shorewall": "startup=1\n",
    },
    "quagga": {"/etc/quagga/zebra.conf": "hostname r\nip forwarding\n", "/etc/quagga/daemons": "zebra=yes\nospfd=yes\n"},
    "frr": {"/etc/frr/frr.conf": "frr version 8.1\nipv6 forwarding\n!\n", f"{WANTS}/frr.service": ""},
    "keepalived": {
        "/etc/keepalived/keepalived.conf": "virtual_server 192.0.2.1 80 {\n  lvs_method NAT\n}\n",
        "/etc/rc3.d/S80keepalived": "",
    },
    "docker": {f"{WANTS}/docker.service": "[Unit]\n"},
    "docker of upstart": {"/etc/rc.d/rc3.d/S95docker": "#!/bin/sh\n"},
    "networkd": {"/etc/systemd/network/lan.network": "[Network]\nIPForward=ipv4\n", f"{WANTS}/systemd-networkd.service": ""},
    "networkd masquerades": {
        "/etc/systemd/network/lan.network": "[Network]\nIPMasquerade=both\n",
        f"{WANTS}/systemd-networkd.service": "",
    },
    "networkd of 256": {"/etc/systemd/networkd.conf": "[Network]\nIPv4Forwarding=yes\n", f"{WANTS}/systemd-networkd.service": ""},
    "networkd drop-in": {
        "/etc/systemd/network/10-netplan-eth0.network.d/r.conf": "[Network]\nIPForward=yes\n",
        f"{WANTS}/systemd-networkd.service": "",
    },
    "NetworkManager shares": {"/etc/NetworkManager/system-connections/lan": "[ipv4]\nmethod=shared\n"},
    "ifcfg shares": {"/etc/sysconfig/network-scripts/ifcfg-eth1": "DEVICE=eth1\nBOOTPROTO=shared\n"},
    "libvirt": {
        "/etc/libvirt/qemu/networks/autostart/default.xml": "<network>\n  <forward mode='nat'/>\n</network>\n",
        f"{WANTS}/libvirtd.service": "",
    },
    "ifupdown": {"/etc/network/interfaces": "iface eth0 inet dhcp\n  post-up echo 1 > /proc/sys/net/ipv4/ip_forward\n"},
    "hook": {"/etc/network/if-up.d/router": "#!/bin/sh\nsysctl -q -w net.ipv4.ip_forward=1 net.ipv4.tcp_ecn=0\n"},
    "rc.local": {"/etc/rc.local": '#!/bin/sh -e\necho "1" >/proc/sys/net/ipv4/conf/all/forwarding\nexit 0\n'},
    "rules alone": {"/etc/iptables/rules.v4": MASQUERADE},
    "nftables": {"/etc/nftables.conf": 'table ip nat {\n  chain post {\n    oifname "eth0" masquerade\n  }\n}\n'},
}


@pytest.mark.parametrize("files", ELSEWHERE.values(), ids=ELSEWHERE)
def test_who_else_switches_it_on_is_heard_and_named(files: dict[str, str]) -> None:
    found, because = forwarding.of(files)
    assert found is True
    assert any(path in because for path in files)


NOT = {
    "commented": {"/etc/sysconfig/sysctl": '#IP_FORWARD="yes"\n'},
    "ufw off": {"/etc/ufw/sysctl.conf": "net/ipv4/ip_forward=1\n", "/etc/ufw/ufw.conf": "ENABLED=no\n"},
    "firewalld's comment": {
        "/etc/firewalld/zones/a.xml": "<zone>\n<!--\n<masquerade/>\n-->\n</zone>\n",
        f"{WANTS}/firewalld.service": "",
    },
    "shorewall keeps": {"/etc/shorewall/shorewall.conf": "IP_FORWARDING=Keep\n"},
    "shorewall switches off": {
        CONF: ON,
        "/etc/shorewall/shorewall.conf": "IP_FORWARDING=Off\n",
        "/etc/default/shorewall": "startup=1\n",
    },
    "zebra switches off": {CONF: ON, "/etc/frr/frr.conf": "no ip forwarding\n", f"{WANTS}/frr.service": ""},
    "docker may not": {f"{WANTS}/docker.service": "", "/etc/docker/daemon.json": '{"ip-forward": false}'},
    "after exit": {"/etc/rc.local": "#!/bin/sh\nexit 0\necho 1 > /proc/sys/net/ipv4/ip_forward\n"},
    "a comment in a script": {"/etc/rc.local": "true # echo 1 > /proc/sys/net/ipv4/ip_forward\n"},
    "going down": {"/etc/network/interfaces": "iface eth0 inet dhcp\n  down echo 1 > /proc/sys/net/ipv4/ip_forward\n"},
    "a shared address": {CONF: OFF, "/etc/keepalived/keepalived.conf": "vrrp_instance VI_1 {\n"},
    "no lines": {},
}


@pytest.mark.parametrize("files", NOT.values(), ids=NOT)
def test_what_has_no_effect_is_not_believed(files: dict[str, str]) -> None:
    assert forwarding.of(files)[0] is False


UNKNOWN = {
    "rules, and the switch is off": {CONF: OFF, "/etc/sysconfig/iptables": MASQUERADE},
    "is ufw started?": {"/etc/ufw/sysctl.conf": "net/ipv4/ip_forward=1\n"},
    "is firewalld started?": {"/etc/firewalld/zones/external.xml": "<zone>\n  <masquerade/>\n</zone>\n"},
    "is shorewall started?": {CONF: ON, "/etc/shorewall/shorewall.conf": "IP_FORWARDING=Off\n"},
    "is zebra started?": {"/etc/quagga/zebra.conf": "ip forwarding\n"},
    "is docker started?": {"/etc/docker/daemon.json": "{}\n"},
    "SUSE contradicts": {CONF: ON, "/etc/sysconfig/sysctl": 'IP_FORWARD="no"\n'},
    "Debian ignores": {"/etc/network/options": "ip_forward=yes\n", "/etc/debian_version": "4.0\n"},
    "NICs to come": {CONF: "net.ipv4.conf.default.forwarding = 1\n"},
    "one of several kernels": {"/boot/grub/grub.cfg": "linux /vmlinuz root=/dev/sda1 sysctl.net.ipv4.ip_forward=1\n"},
    "both ends of a script": {
        "/etc/rc.local": "f=/proc/sys/net/ipv4/ip_forward\nsysctl -w net.ipv4.ip_forward=1\nsysctl -w net.ipv4.ip_forward=0\n"
    },
    "an address that wanders": {"/etc/keepalived/keepalived.conf": "vrrp_instance VI_1 {\n"},
}


@pytest.mark.parametrize("files", UNKNOWN.values(), ids=UNKNOWN)
def test_what_the_files_leave_open_is_not_known_and_it_is_said_why(files: dict[str, str]) -> None:
    found, because = forwarding.of(files)
    assert found is None
    assert any(path in because for path in files)


ECHO = "#!/bin/sh\necho 1 > /proc/sys/net/ipv4/ip_forward\n"
NETWORKD = {f"{WANTS}/systemd-networkd.service": ""}
LAN, LIBVIRT = "/etc/systemd/network/lan.network", "/etc/libvirt/qemu/networks/autostart/a.xml"
NAT = "<network>\n<forward mode='nat'/>\n</network>\n"
FIREWALLD = {f"{WANTS}/firewalld.service": ""}
WRITTEN = (
    "echo 1 | tee /proc/sys/net/ipv4/ip_forward",
    "echo 1 >| /proc/sys/net/ipv4/ip_forward",
    "printf 1 > /proc/sys/net/ipv4/ip_forward",
    "printf '1\\n' >/proc/sys/net/ipv4/conf/all/forwarding",
    "for f in /proc/sys/net/ipv4/conf/*/forwarding; do echo 1 >$f; done",
    "for f in /proc/sys/net/ipv4/conf/*/forwarding\ndo\n  echo 1 > $f\ndone",
    "P=/proc/sys/net/ipv4; echo 1 > $P/ip_forward",
    'P=/proc/sys\nF=${P}/net/ipv4/ip_forward\n[ -f $F ] && echo 1 > "$F"',
    'sysctl -w "net.ipv4.ip_forward=1"',
    "f=/proc/sys/net/ipv4/ip_forward\ncase $1 in\nstart)\n  echo 1 > $f\n  ;;\nstop)\n  echo 0 > $f\n  ;;\nesac",
)
ON_TOO = {
    **{line: {"/etc/rc.local": f"#!/bin/sh\n{line}\n"} for line in WRITTEN},
    "wireguard": {
        "/etc/wireguard/wg0.conf": "[Interface]\nPostUp = sysctl -w net.ipv4.ip_forward=1\n",
        f"{WANTS}/wg-quick@wg0.service": "",
    },
    "wireguard masquerades": {
        "/etc/wireguard/wg0.conf": "[Interface]\nPostUp = iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE\n",
        f"{WANTS}/wg-quick@wg0.service": "",
    },
    "a script of one's own": {"/etc/init.d/firewall": ECHO, "/etc/rc2.d/S20firewall": ""},
    "rules with their own script": {"/etc/init.d/iptables": ECHO, "/etc/rc2.d/S20iptables": ""},
    "a unit": {
        "/etc/systemd/system/router.service": "[Service]\nExecStart=/sbin/sysctl -w \\\n net.ipv4.ip_forward=1\n",
        f"{WANTS}/router.service": "",
    },
    "after.local": {"/etc/init.d/after.local": ECHO},
    "a script that rc.local calls": {"/etc/rc.local": "/etc/init.d/masq start\n", "/etc/init.d/masq": ECHO},
    "ifsysctl": {"/etc/sysconfig/network/ifsysctl": "net.ipv4.conf.all.forwarding=1\n"},
    "ifsysctl of a NIC": {"/etc/sysconfig/network/ifsysctl-eth0.7": "net.ipv4.conf.$INTERFACE.forwarding=1\n"},
    "firehol": {"/etc/firehol/firehol.conf": "router lan2inet inface eth0 outface eth1\n", "/etc/rc2.d/S40firehol": ""},
    "openswan": {"/etc/ipsec.conf": "config setup\n\tforwardcontrol=yes\n", "/etc/rc3.d/S47ipsec": ""},
    "Enterprise Linux 6": {"/etc/sysctl.d/router": ON, CONF: OFF, "/etc/redhat-release": "CentOS release 6.6 (Final)\n"},
    "sourced": {
        "/etc/network/interfaces": "source /etc/network/my/*\n",
        "/etc/network/my/a": "iface eth0 inet manual\n up sysctl -w net.ipv4.ip_forward=1\n",
    },
    "up goes on": {"/etc/network/interfaces": "iface eth0 inet manual\n up \\\n sysctl -w net.ipv4.ip_forward=1\n"},
    "included": {"/etc/nftables.conf": 'include "/etc/nftables.d/*.nft"\n', "/etc/nftables.d/nat.nft": "masquerade\n"},
    "zone of a NIC": {"/etc/sysconfig/network-scripts/ifcfg-eth1": "DEVICE=eth1\nZONE=external\n", **FIREWALLD},
    "zone by default": {"/etc/firewalld/firewalld.conf": "DefaultZone=external\n", **FIREWALLD},
    "zone of a profile, as it was shipped": {
        "/etc/NetworkManager/system-connections/a": "[connection]\nzone=dmz\n",
        "/usr/lib/firewalld/zones/dmz.xml": "<zone><masquerade/></zone>\n",
        **FIREWALLD,
    },
    "y": {LAN: "[Network]\nIPForward=y\n", **NETWORKD},
    "t": {LAN: "[Network]\nIPMasquerade=t\n", **NETWORKD},
    "modular libvirt": {LIBVIRT: NAT, f"{WANTS}/virtnetworkd.service": ""},
    "modular libvirt's socket": {LIBVIRT: NAT, "/etc/systemd/system/sockets.target.wants/virtnetworkd.socket": ""},
    "SUSE's remark": {"/etc/sysconfig/SuSEfirewall2": 'FW_ROUTE="yes" # x\n', "/etc/init.d/rc3.d/S01SuSEfirewall2_setup": ""},
    "docker of upstart alone": {"/etc/init/docker.conf": "start on runlevel [2345]\n"},
    "Alpine": {"/etc/conf.d/iptables": 'IPFORWARD="yes"\n'},
    "at a start": {"/etc/cron.d/router": "@reboot root sysctl -w net.ipv4.ip_forward=1\n"},
    "dispatched": {"/etc/networkd-dispatcher/routable.d/50-router": ECHO},
    "sysctl -p of a file that is read": {"/etc/rc.local": "sysctl -p /etc/sysctl.d/off\n", "/etc/sysctl.d/off": ON},
}


@pytest.mark.parametrize("files", ON_TOO.values(), ids=range(len(ON_TOO)))
def test_whatever_is_started_and_read_is_heard_too(files: dict[str, str]) -> None:
    assert forwarding.of(files)[0] is True


NOT_EITHER = {
    "no after yes": {LAN: "[Network]\nIPForward=yes\nIPForward=no\n", **NETWORKD},
    "no after yes, beside it": {LAN: "[Network]\nIPForward=yes\n", f"{LAN}.d/x.conf": "[Network]\nIPForward=no\n", **NETWORKD},
    "a redirection": {"/etc/rc.local": "#!/bin/sh\necho 1>/proc/sys/net/ipv4/ip_forward\n"},
    "run-parts skips dots": {"/etc/network/if-up.d/router.sh": ECHO},
    "a bridge": {LIBVIRT: NAT.replace("nat", "bridge"), f"{WANTS}/libvirtd.service": ""},
    "masquerade not": {"/etc/firewalld/zones/public.xml": '<zone>\n<masquerade enabled="False"/>\n</zone>', **FIREWALLD},
    "an editor's copy": {"/etc/NetworkManager/system-connections/a.nmconnection~": "[ipv4]\nmethod=shared\n"},
    "a package's copy": {"/etc/NetworkManager/system-connections/a.rpmsave": "[ipv4]\nmethod=shared\n"},
    "a copy of a NIC's": {"/etc/sysconfig/network-scripts/ifcfg-eth1.bak": "BOOTPROTO=shared\n"},
    "of what goes out alone": {"/etc/sysconfig/iptables": "-A OUTPUT -d 10.0.0.1 -j DNAT --to-destination 127.0.0.1\n"},
    "a name with a no-break space": {CONF: "net.ipv4.ip_forward\u00a0=\u00a01\n"},
    "only looked at": {"/etc/rc.local": "grep -q 1 /proc/sys/net/ipv4/ip_forward || logger off\n"},
    "told": {"/etc/rc.local": 'echo "Forwarding: $(cat /proc/sys/net/ipv4/ip_forward)"\n'},
    "not started": {"/etc/init.d/firewall": ECHO},
    "upstart may not": {"/etc/init/docker.conf": "start on x\n", "/etc/init/docker.override": "manual\n"},
    "a service of the distribution": {"/etc/init.d/sshd": "SSHD=/usr/sbin/sshd\ndaemon $SSHD\n", "/etc/rc3.d/S55sshd": ""},
    "the distribution's network": {
        "/etc/init.d/network": "cd /etc/sysconfig/network-scripts\n. ./network-functions\nsysctl -e -p /etc/sysctl.conf\n",
        "/etc/rc3.d/S10network": "",
    },
    "rules saved with switches": {"/etc/init.d/iptables": "sysctl -p - <x # .ip_forward\n", "/etc/rc3.d/S08iptables": ""},
    "a tunnel's client": {f"{WANTS}/tailscaled.service": "[Service]\nExecStart=/usr/sbin/tailscaled\n"},
}


@pytest.mark.parametrize("files", NOT_EITHER.values(), ids=NOT_EITHER)
def test_what_looks_as_if_does_not_switch_it_on(files: dict[str, str]) -> None:
    assert forwarding.of(files)[0] is False


OPEN = {
    "k3s": {f"{WANTS}/k3s.service": ""},
    "kubelet": {f"{WANTS}/kubelet.service": ""},
    "lxd": {f"{WANTS}/snap.lxd.daemon.service": ""},
    "docker as a snap": {f"{WANTS}/snap.docker.dockerd.service": ""},
    "containers": {"/etc/containers/networks/x.json": "{}"},
    "docker's file is torn": {f"{WANTS}/docker.service": "", "/etc/docker/daemon.json": '{"ip-forward": false,}'},
    "sysctl -p": {"/etc/rc.local": "#!/bin/sh\nsysctl -p /etc/router.conf\n"},
    "a program": {"/etc/rc.local": "#!/bin/sh\n/usr/local/sbin/firewall.sh start\n"},
    "a program by a shell": {"/etc/rc.local": "if true; then nohup sh /root/fw.sh & fi\n"},
    "a program of a service": {
        "/etc/init.d/app": "DAEMON=/opt/app/bin/run\nstart-stop-daemon --exec $DAEMON\n",
        "/etc/rc2.d/S90app": "",
    },
    "a program of a unit": {f"{WANTS}/app.service": "[Service]\nExecStart=-/opt/app/bin/run --now\n"},
    "a program at a start": {"/etc/cron.d/app": "@reboot root /srv/app/up\n"},
    "a form nobody knows": {"/etc/rc.local": "x=1\ndd if=/one of=/proc/sys/net/ipv4/ip_forward\n"},
    "with blanks": {"/etc/rc.local": "sysctl -w net.ipv4.ip_forward = 1\n"},
    "a file for one kernel": {"/boot/sysctl.conf-4.12.14-default": ON},
    "a unit that something may want": {
        "/etc/systemd/system/fw.service": "[Service]\nExecStart=/sbin/sysctl -w net.ipv4.ip_forward=1\n"
    },
    "off, perhaps": {CONF: ON, "/etc/rc.local": "if test -f /off; then\n  echo 0 > /proc/sys/net/ipv4/ip_forward\nfi\n"},
    "tuned": {"/etc/tuned/router/tuned.conf": "[sysctl]\nnet.ipv4.ip_forward=1\n"},
    "udev": {"/etc/udev/rules.d/9.rules": 'ACTION=="add",RUN+="/sbin/sysctl -w net.ipv4.ip_forward=1"\n'},
    "sourced from where nobody reads": {"/etc/network/interfaces": "source /srv/net/*\n"},
    "included from where nobody reads": {"/etc/nftables.conf": 'include "/srv/nat.nft"\n'},
    "a profile for later": {
        "/etc/NetworkManager/system-connections/hot": "[connection]\nautoconnect=false\n[ipv4]\nmethod=shared\n"
    },
    "a first boot's orders": {"/var/lib/cloud/instance/user-data.txt": "bootcmd:\n - sysctl -w net.ipv4.ip_forward=1\n"},
    "Enterprise Linux 6, perhaps": {"/etc/sysctl.d/router": ON},
    "openvpn": {"/etc/openvpn/server.conf": "up /usr/local/sbin/up.sh\n", "/etc/rc2.d/S16openvpn": ""},
}


@pytest.mark.parametrize("files", OPEN.values(), ids=OPEN)
def test_it_is_not_denied_where_something_is_started_that_was_not_read_or_understood(files: dict[str, str]) -> None:
    found, because = forwarding.of(files)
    assert found is None
    assert any(path in because for path in files)


def test_with_systemd_sysctl_conf_has_the_place_of_its_link() -> None:
    for late in ("/etc/sysctl.d/99-tailscale.conf", "/usr/lib/sysctl.d/99-zz.conf", "/etc/sysctl.d/a.conf"):
        assert forwarding.of({CONF: OFF, late: ON}, systemd=True)[0] is True
        assert forwarding.of({CONF: ON, late: OFF}, systemd=True)[0] is False
    assert forwarding.of({CONF: OFF, "/etc/sysctl.d/99-a.conf": ON}, systemd=True)[0] is False
    assert forwarding.of({CONF: ON, forwarding.LINK: OFF}, systemd=True)[0] is False


def test_what_is_masked_is_not_started_and_a_link_to_what_was_read_is() -> None:
    unit, wanted = "/etc/systemd/system/docker.service", f"{WANTS}/docker.service"
    assert forwarding.of({wanted: "[Unit]\n"}, present=[unit, wanted])[0] is False
    assert forwarding.of({wanted: "[Unit]\n"}, present=[wanted])[0] is True
    assert forwarding.of({unit: "[Unit]\n"}, present=[unit, wanted], links={wanted: unit})[0] is True
    hidden = ["/etc/sysctl.d/50-router.conf"]
    assert forwarding.of({"/usr/lib/sysctl.d/50-router.conf": ON}, present=hidden)[0] is False
    linked = {"/usr/lib/sysctl.d/50-router.conf": OFF, "/etc/sysctl.d/10-a.conf": ON}
    assert forwarding.of(linked, present=hidden, links={hidden[0]: "/etc/sysctl.d/10-a.conf"})[0] is True


def test_a_link_of_a_runlevel_that_leads_elsewhere_starts_what_is_not_read() -> None:
    link = "/etc/rc.d/rc3.d/S99app"
    found, because = forwarding.of({}, present=[link], links={link: "/opt/app/init"})
    assert (found, "/opt/app/init" in because) == (None, True)
    script = {"/etc/init.d/app": "#!/bin/sh\ntrue\n"}
    assert forwarding.of(script, present=[link], links={link: "/etc/rc.d/init.d/app"})[0] is False
    assert forwarding.of({}, present=[link])[0] is False  # it leads nowhere


def test_every_file_that_is_asked_is_one_that_is_read() -> None:
    for path in itertools.chain(
        *(case for cases in (ELSEWHERE, NOT, UNKNOWN, ON_TOO, NOT_EITHER, OPEN) for case in cases.values())
    ):
        asked = (*inspection.TEXTS, *inspection.PRESENT)
        assert any(fnmatch.fnmatchcase(path, pattern) for pattern in asked), path


KEYS = ("net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding", "net.ipv4.conf.eth1.forwarding", "net.ipv6.conf.all.forwarding")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.booleans()), max_size=6), st.data())
def test_a_rewriting_that_means_the_same_is_read_the_same(lines: list[tuple[str, bool]], data: st.DataObject) -> None:
    plain = "".join(f"{key} = {int(on)}\n" for key, on in lines)
    other = ""
    for key, on in lines:
        other += data.draw(st.sampled_from(["", "\n", "# net.ipv4.ip_forward = 1\n", "; x\n"]))
        written = data.draw(st.sampled_from([key, key.replace(".", "/"), f"-{key}"]))
        other += data.draw(st.sampled_from(["{}={}\n", "  {} = {} \n", "\t{}\t=\t{}\r\n"])).format(written, int(on))
    right = forwarding.of({CONF: plain})[0]
    assert forwarding.of({CONF: other})[0] == right
    half = len(lines) // 2  # the same lines in two files, in their order
    first = "".join(f"{key} = {int(on)}\n" for key, on in lines[:half])
    rest = "".join(f"{key} = {int(on)}\n" for key, on in lines[half:])
    assert forwarding.of({"/usr/lib/sysctl.d/80-a.conf": first, "/etc/sysctl.d/90-b.conf": rest})[0] == right


SWITCH = "echo 1 > /proc/sys/net/ipv4/ip_forward\n"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/rc.local",
        "/etc/rc.d/rc.local",
        "/sbin/ifup-local",
        "/etc/network/if-up.d/router",
        "/etc/network/if-pre-up.d/router",
        "/etc/NetworkManager/dispatcher.d/99-router",
        "/usr/lib/networkd-dispatcher/routable.d/router",
        "/etc/local.d/router.start",
        "/etc/sysconfig/modules/router.modules",
        "/var/lib/cloud/scripts/per-boot/router",
    ],
)
def test_a_script_that_is_not_executable_is_not_run_and_is_told(path: str) -> None:
    assert forwarding.of({path: SWITCH})[0] is True
    found, because = forwarding.of({path: SWITCH}, plain=(path,))
    assert found is False
    assert because == f"{SWITCH.strip()} in {path}, but that script is not executable, and nothing runs it"


def test_what_a_shell_is_given_to_read_need_not_be_executable() -> None:
    for path in ("/etc/init.d/boot.local", "/etc/dhcp/dhclient-exit-hooks.d/router", "/etc/openvpn/openvpn-startup"):
        assert forwarding.of({path: SWITCH}, plain=(path,))[0] is True


def test_a_script_that_is_not_executable_takes_nothing_back() -> None:
    texts = {CONF: ON, "/etc/rc.local": "sysctl -w net.ipv4.ip_forward=0\n"}
    assert forwarding.of(texts, plain=("/etc/rc.local",))[0] is True
    assert forwarding.of({CONF: OFF, "/etc/rc.local": "exit 0\n"}, plain=("/etc/rc.local",)) == (
        False,
        f"{OFF.strip()} in {CONF}",
    )


def test_a_link_to_a_script_that_is_not_executable_runs_nothing_either() -> None:
    links = {"/etc/rc.local": "/etc/rc.d/rc.local"}
    assert forwarding.of({"/etc/rc.d/rc.local": SWITCH}, links=links, plain=("/etc/rc.d/rc.local", "/etc/rc.local"))[0] is False


def test_wickeds_own_files_switch_it_on() -> None:
    path = "/etc/wicked/ifconfig/eth0.xml"
    text = "<interface><name>eth0</name>\n<ipv4>\n <enabled>true</enabled>\n <forwarding>true</forwarding>\n</ipv4></interface>\n"
    assert forwarding.of({path: text})[0] is True
    assert (
        forwarding.of({path: text.replace("<forwarding>", "<!-- <forwarding>").replace("</forwarding>", "</forwarding> -->")})[0]
        is False
    )
