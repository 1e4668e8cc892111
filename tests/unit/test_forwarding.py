"""Whether a guest forwards, by its files: what is switched last at a start counts; what they leave open is not known."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.guest import forwarding

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
    assert said(**{"/etc/sysctl.d/router.conf.rpmsave": ON, "/etc/sysctl.d/README": ON}) is False


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


def test_every_file_that_is_asked_is_one_that_is_read() -> None:
    from hikkoshi.guest import inspection

    for path in itertools.chain(*ELSEWHERE.values(), *NOT.values(), *UNKNOWN.values()):
        assert any(forwarding.fnmatch.fnmatchcase(path, pattern) for pattern in inspection.TEXTS), path


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
