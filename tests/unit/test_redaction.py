"""Secrets of a guest: none of them leaves its files, and all are in their places again when a file is written."""

import ast
import json
import re
import shlex
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, FoldedScalarString, LiteralScalarString, SingleQuotedScalarString

from hikkoshi.guest.files import fstab, grub, grub2
from hikkoshi.guest.interfaces import interfaces
from hikkoshi.secret import redaction
from hikkoshi.secret.redaction import Redactor

BRIEF = settings(max_examples=100, deadline=None)
NM = "/etc/NetworkManager/system-connections/x"
NETPLAN, IFUPDOWN, IFCFG = ("/etc/netplan/50.yaml", "/etc/network/interfaces", "/etc/sysconfig/network-scripts/ifcfg-eth0")
BLOCK = "# GRUB Environment Block\n"

# (path in the guest, a text of it that holds CANARY in the place of a secret)
PLACES = [
    ("/boot/grub/grub.conf", "password CANARY\n"),
    ("/boot/grub/grub.conf", "password --md5 $1$salt$CANARY/xyz\ntitle x\n"),
    ("/boot/grub/grub.conf", "password --encrypted CANARY /boot/other.lst\n"),
    ("/boot/grub/grub.conf", "title x\n lock\n\tpassword=CANARY\n"),
    ("/boot/grub/menu.lst", "# password --md5 $1$gLhU0/$CANARYkHK1QfV3P2b2\n"),
    ("/boot/grub/grub.conf", "title x\n kernel /vmlinuz ro root=/dev/xvda1 rd.iscsi.password=CANARY,x console=xvc0\n"),
    ("/boot/grub2/grub.cfg", "password_pbkdf2 root grub.pbkdf2.sha512.10000.CANARY.0123\n"),
    ("/boot/grub2/grub.cfg", "  password root CANARY\n"),
    ("/boot/grub2/grub.cfg", "\tlinux16 /vmlinuz root=/dev/xvda1 netroot=iscsi:user:CANARY@10.0.0.1::3260::iqn.x ro\n"),
    ("/boot/grub2/grub.cfg", "\tlinux /vmlinuz root=cifs://user:CANARY@10.0.0.1/share ro\n"),
    ("/boot/grub2/grub.cfg", "\tlinux /vmlinuz root=cifs:user:CANARY@10.0.0.1/share ro\n"),
    ("/boot/grub2/grub.cfg", "\tlinux /vmlinuz ks=http://user:CANARY@10.0.0.1/ks.cfg ro\n"),
    ("/boot/grub2/grub.cfg", "\tlinux /vmlinuz systemd.set_credential=passwd.root:CANARY ro\n"),
    ("/boot/grub2/grubenv", f"{BLOCK}kernelopts=root=/dev/xvda1 rd.iscsi.in.password=CANARY ro\n".ljust(1024, "#")),
    ("/boot/loader/entries/a.conf", "options root=/dev/xvda1 rd.iscsi.password=CANARY ro\n"),
    ("/boot/extlinux/extlinux.conf", "label x\n append root=/dev/xvda1 vncpassword=CANARY ro\n"),
    ("/boot/grub2/grubenv", f"{BLOCK}kernelopts=root=/dev/xvda1 a.password=CANARY ro\n".ljust(2048, "#")),
    ("/boot/grub2/grubenv", BLOCK + "pw=CANARY\n" * 200),
    ("/boot/grub2/grub.cfg", '\tlinux /v "rd.iscsi.password=CAN CANARY" root=/dev/xvda1 ro\n'),
    ("/boot/grub2/grub.cfg", "\tlinux /v inst.rootpw=CANARY inst.sshd.pw=CANARY root=/dev/xvda1 ro\n"),
    ("/etc/kernel/cmdline", "rd.iscsi.password=CANARY root=/dev/xvda1 console=hvc0\n"),
    ("/etc/default/grub", 'GRUB_CMDLINE_LINUX="console=hvc0 rd.iscsi.password=CANARY root=/dev/xvda1"\n'),
    ("/etc/default/grub", 'GRUB_CMDLINE_LINUX="rd.iscsi.password=\\"CAN CANARY\\" root=/dev/xvda1"\n'),
    ("/etc/default/grub", 'GRUB_CMDLINE_LINUX="\\"rd.iscsi.password=CAN CANARY\\" root=/dev/xvda1"\n'),
    ("/etc/default/grub", "GRUB2_PASSWORD=grub.pbkdf2.sha512.10000.CANARY\n"),
    ("/etc/dracut.conf.d/x.conf", 'kernel_cmdline="rd.iscsi.password=CANARY ro"\n'),
    ("/etc/fstab", "//server/share /mnt cifs username=a,password=CANARY,rw 0 0\n"),
    ("/etc/fstab", "//server/share /mnt cifs user=a%CANARY,rw 0 0\n"),
    ("/etc/fstab", "# //server/share /mnt cifs rw,pass=CANARY 0 0\n"),
    ("/etc/fstab", "//user:CANARY@server/share /mnt cifs rw 0 0\n"),
    ("/etc/fstab", "sshfs#user:CANARY@server:/x /mnt fuse rw 0 0\n"),
    ("/etc/fstab", "/dev/xvda1 / ext3 defaults 1 1\n# pw: CANARY, since 2009\n"),
    ("/etc/fstab", "user:CANARY@server:/x /mnt nfs rw 0 0\n"),
    ("/etc/fstab", "mon:/ /mnt ceph name=admin,secret=CANARY== 0 0\n"),
    (NM, "[wifi-security]\nkey-mgmt=wpa-psk\npsk=CAN ARY; CANARY\n"),
    (NM, "[wifi-security]\nwep-key0=CANARY\nleap-password=CANARY\n"),
    (NM, "[802-1x]\neap=peap\npassword=CANARY\nprivate-key-password=CANARY\nphase2-private-key-password=CANARY\n"),
    (NM, "[802-1x]\npassword-raw=CANARY\npin=CANARY\n"),
    (NM, "[vpn]\nservice-type=x\n[vpn-secrets]\nXauth password=CANARY\nwhatever=CANARY\n[ipv4]\nmethod=auto\n"),
    (NM, "[wireguard]\nprivate-key=CANARY=\n[wireguard-peer.x]\npreshared-key=CANARY=\n"),
    (NM, "[macsec]\nmka-cak=CANARY\n"),
    (NM, "[pppoe]\npassword=CANARY\n"),
    (NETPLAN, 'network:\n  wifis:\n    w:\n      access-points:\n        "x":\n          password: "CANARY"\n'),
    (NETPLAN, "network:\n  ethernets:\n    e:\n      auth: {key-management: 802.1x, password: CANARY}\n"),
    (NETPLAN, "          auth:\n            client-key-password: CANARY with blanks\n"),
    (NETPLAN, "a:\n  password: |\n    CANARY\n\n    CANARY\n  dhcp4: true\n"),
    (redaction.UNKNOWN, "vfb = ['vnc=1,vncpasswd=CAN'CANARY']"),
    (IFUPDOWN, "iface w inet dhcp\n  wpa-ssid x\n  wpa-psk CANARY\n  wpa-password CANARY CANARY\n"),
    (IFUPDOWN, "iface w inet dhcp\n  wireless-key1 CANARY\n  wireless-key s:CANARY\n  up iwconfig w key CANARY\n"),
    (IFUPDOWN, "iface w inet dhcp\n  wpa-private-key-passwd CANARY\n  wpa-wep-key0 CANARY\n"),
    (IFCFG, "DEVICE=eth0\nKEY=CANARY\nKEY1='CANARY'\nWPA_PSK=\"CANARY\"\nIEEE_8021X_PASSWORD=CANARY\n"),
    (IFCFG, 'ETHTOOL_OPTS="wol s sopass CANARY"\n'),
    ("/etc/systemd/network/wg.netdev", "[WireGuard]\nPrivateKey=CANARY=\nPresharedKey = CANARY=\n"),
    ("/etc/systemd/network/m.netdev", "[MACsecTransmitAssociation]\nKeyId=1\nKey = CANARY\n"),
    ("/etc/rc.d/rc.local", "mount -t cifs -o user=a,password=CANARY //s/x /dev/xvdb; x --password CANARY\n"),
    ("/etc/rc.d/rc.local", "curl ftp://user:CANARY@host/x # /dev/xvdb\n"),
    ("/etc/inittab", "x:5:respawn:/usr/bin/x11vnc -display :0 -passwd CANARY -forever\n"),
    ("/etc/inittab", "x:5:respawn:/usr/bin/x11vnc -viewpasswd 'CAN CANARY' --pass \"CAN CANARY\"\n"),
    (redaction.OUTPUT, "password=CANARY\nPGPASSWORD=CANARY psql\nhttps://u:CANARY@h/\n"),
    (redaction.OUTPUT, "+ curl -u admin:CANARY https://x\n+ curl -s -uadmin:CANARY x\n+ curl --user=admin:CANARY x\n"),
    (redaction.OUTPUT, "+ curl -u 'admin:CAN ARY CANARY' x\n+ curl --proxy-user \"admin:CAN ARY CANARY\" x\n"),
    (redaction.OUTPUT, "+ curl -H 'Authorization: Bearer CANARY' x\n> Proxy-Authorization: Basic CANARY==\nbearer CANARY.x\n"),
    (redaction.OUTPUT, "+ curl -H 'X-Auth-Token: CANARY' x\n< Set-Cookie: a=b; sid=CANARY; Path=/\n"),
    (redaction.OUTPUT, 'token: CANARY\nAPI_KEY=CANARY\n{"access_token": "CANARY", "expires": 3600}\n'),
    (redaction.OUTPUT, "+ subscription-manager register --activationkey CANARY\n+ x --token CANARY\nregcode = CANARY\n"),
    (redaction.OUTPUT, "+ sshpass -p CANARY ssh x\n+ mysql -u root -pCANARY -e 'x'\n"),
    (redaction.OUTPUT, "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.CANARY_x\n"),
    (redaction.OUTPUT, "x\n-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: x\n\nCANARY\nCANARY\n-----END RSA PRIVATE KEY-----\ny\n"),
    (redaction.OUTPUT, "-----BEGIN OPENSSH PRIVATE KEY-----\nCANARY\nCANARY"),
    (redaction.OUTPUT, "CANARY\nCANARY=\n-----END PRIVATE KEY-----\nit is there\n"),
    ("/etc/X11/xorg.conf", 'Option "Password" "CANARY"\n'),
    ("/etc/sysctl.conf", "x.password = CANARY\n"),
]


@pytest.mark.parametrize(("path", "content"), PLACES)
def test_a_secret_is_replaced_and_put_back(path: str, content: str) -> None:
    redactor = Redactor()
    hidden = redactor.redact(path, content.encode())
    assert b"CANARY" not in hidden
    assert len(hidden.splitlines()) == len(content.splitlines())
    assert redactor.restore(hidden) == content.encode()


@pytest.mark.parametrize(("path", "content"), PLACES)
def test_what_is_shown_has_no_secret(path: str, content: str) -> None:
    assert "CANARY" not in redaction.shown(content, path)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/fstab", "//server/share /mnt cifs credentials=/etc/secret.cred,rw 0 0\nLABEL=/ / ext3 defaults 1 1\n"),
        ("/boot/grub/grub.conf", "default=0\ntitle CentOS\n\tkernel /vmlinuz ro root=/dev/xvda1 console=xvc0\n"),
        ("/boot/grub2/grub.cfg", "insmod password_pbkdf2\nset superusers=root\nlinux /v netroot=iscsi:@10.0.0.1::x\n"),
        (IFCFG, "DEVICE=eth0\nHWADDR=00:16:3E:00:00:01\nIPADDR=10.0.0.1\n"),
        ("/etc/inittab", "id:3:initdefault:\n1:2345:respawn:/sbin/mingetty tty1\n"),
        ("/etc/inittab", "x:5:respawn:/usr/bin/x11vnc -rfbauth /etc/x -passwdfile /etc/y -passive z\n"),
        ("/etc/sysctl.conf", "net.ipv4.ip_forward = 1\n"),
        (redaction.OUTPUT, "== 01-a.sh begins\n+ docker run --user web -u 33 x --exit-code 3\n+ cp -pr a b\n"),
        (redaction.OUTPUT, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\nhttp://x:80/a (1:2.3-4)\n"),
        ("/boot/config-4.18", "CONFIG_SECRETMEM=y\n"),
    ],
)
def test_what_is_no_secret_stays(path: str, content: str) -> None:
    redactor = Redactor()
    assert redactor.redact(path, content.encode()) == content.encode()
    assert redactor.tokens == {}


RC, GRUB2, DEFAULT = "/etc/rc.d/rc.local", "/boot/grub2/grub.cfg", "/etc/default/grub"


def word(value: str) -> str:
    """A value that needs no quotes and has no character that ends it, in most files."""
    return re.sub(r"[^\w.+/%$!~-]", "", value)


def unquoted(value: str) -> str:
    """A value without blanks."""
    return "".join(value.split()) or "x"


def line(value: str) -> str:
    """A value that is all of a line."""
    return " ".join(value.split()) or "x"


def in_double(value: str) -> str:
    """As a shell has it between double quotes."""
    return '"' + re.sub(r'(["\\\\$`])', r"\\\1", value) + '"'


def yaml(value: object) -> str:
    text = StringIO()
    dumper = YAML()
    dumper.width = 20
    dumper.dump({"network": {"wifis": {"w": {"password": value, "dhcp4": True}}}}, text)
    return text.getvalue()


# {what: (path, text of a name and a value)}; each writes a value as its format wants it
FORMS: dict[str, tuple[str, Callable[[str, str], str]]] = {
    "option of a mount": ("/etc/fstab", lambda n, v: f"//s/x /mnt cifs rw,{n}={unquoted(v).replace(',', '')},nofail 0 0"),
    "comment in a table": ("/etc/fstab", lambda n, v: f"/dev/xvda1 / ext3 defaults 1 1  # the {n}: {line(v)}"),
    "before a host": ("/etc/fstab", lambda n, v: f"root:{word(v).replace('/', '')}@server:/x /mnt nfs rw 0 0"),
    "in a share": ("/etc/fstab", lambda n, v: f"//root:{unquoted(v)}@server/x /mnt cifs rw 0 0"),
    "argument": (GRUB2, lambda n, v: f"\tlinux /v rd.{n}={word(v)} root=/dev/xvda1"),
    "argument in quotes": (GRUB2, lambda n, v: f"\tlinux /v rd.{n}={in_double(line(v))} root=/dev/xvda1"),
    "argument as a shell has it": (GRUB2, lambda n, v: f"\tlinux /v rd.{n}={shlex.quote(line(v))} root=/dev/xvda1"),
    "quotes around an argument": (GRUB2, lambda n, v: f"\tlinux /v {shlex.quote(f'{n}={line(v)}')} root=/dev/xvda1"),
    "double quotes around an argument": (GRUB2, lambda n, v: f'\tlinux /v "{n}={in_double(line(v))[1:]} root=/dev/xvda1'),
    "argument over two lines": (GRUB2, lambda n, v: f"\tlinux /v rd.{n}={word(v)}\\\n{word(v)} root=/dev/xvda1"),
    "setting for arguments": (DEFAULT, lambda n, v: f'GRUB_CMDLINE_LINUX="rd.{n}={word(v)} root=/dev/xvda1"'),
    "setting with quotes inside": (DEFAULT, lambda n, v: f'GRUB_CMDLINE_LINUX="a rd.{n}=\\"{word(v)} {word(v)}\\" b"'),
    "setting": (RC, lambda n, v: f"export {n.replace('-', '_').upper()}={shlex.quote(line(v))}"),
    "setting in double quotes": (RC, lambda n, v: f"X=1 {n.replace('-', '_')}={in_double(v)} ./x /dev/xvda1"),
    "setting over lines": (RC, lambda n, v: f"{n.replace('-', '_')}={word(v)}\\\n{word(v)}\n./x /dev/xvda1"),
    "option of a program": (RC, lambda n, v: f"x --{n.replace('.', '-')}-password {shlex.quote(line(v))} /dev/xvda1"),
    "option with =": (RC, lambda n, v: f"x --password={shlex.quote(line(v))} /dev/xvda1"),
    "option with one dash": ("/etc/inittab", lambda n, v: f"x:5:respawn:/usr/bin/x11vnc -passwd {word(v)} -forever"),
    "in an address": (RC, lambda n, v: f"curl ftp://user:{quote(v)}@host/x"),
    "keyfile": (NM, lambda n, v: f"[802-1x]\n{n}={line(v)}\n[ipv4]\nmethod=auto"),
    "unit": ("/etc/systemd/network/a.netdev", lambda n, v: f"[WireGuard]\nPrivateKey={word(v)}\\\n  {word(v)}\n[x]"),
    "interfaces": (
        IFUPDOWN,
        lambda n, v: f"iface w inet dhcp\n  wpa-psk {word(v)} \\\n    {line(v).rstrip(chr(92))}\n  address 10.0.0.7/24",
    ),
    "plain YAML": (NETPLAN, lambda n, v: f"a:\n  {n}: {word(v)}\n    {word(v)}\n  dhcp4: true"),
    "YAML": (NETPLAN, lambda n, v: yaml(v)),
    "YAML in single quotes": (NETPLAN, lambda n, v: yaml(SingleQuotedScalarString(v))),
    "YAML in double quotes": (NETPLAN, lambda n, v: yaml(DoubleQuotedScalarString(v))),
    "YAML as it is": (NETPLAN, lambda n, v: yaml(LiteralScalarString(v))),
    "YAML folded": (NETPLAN, lambda n, v: yaml(FoldedScalarString(v))),
    "YAML in a list": (NETPLAN, lambda n, v: f"a:\n- {n}: |-\n    {line(v)}\n\n    {line(v)}\n  dhcp4: true"),
    "YAML with a question": (NETPLAN, lambda n, v: f"a:\n  ? {n}\n  : {word(v)}\n  dhcp4: true"),
    "YAML in braces": (NETPLAN, lambda n, v: f"a: {{dhcp4: true, {n}:\n  {word(v)}, x: y}}"),
    "JSON": (NETPLAN, lambda n, v: json.dumps({"a": {n: v, "dhcp4": True}}, ensure_ascii=False)),
    "menu of the first GRUB": ("/boot/grub/grub.conf", lambda n, v: f"password --md5 {line(v)}\ntitle x"),
    "menu of the second GRUB": (GRUB2, lambda n, v: f"password root \\\n  {word(v)}\nset x=y"),
    "environment block": ("/boot/grub2/grubenv", lambda n, v: f"{BLOCK}kernelopts=a {n}={word(v)} b\n".ljust(2048, "#")),
    "option of X": ("/etc/X11/xorg.conf", lambda n, v: f'Option "Password" "{line(v).replace(chr(34), "")}"'),
    "comment": ("/etc/sysctl.conf", lambda n, v: f"x = 1  # {n}: {line(v)}"),
    "line that nobody could read": (redaction.UNKNOWN, lambda n, v: f"vfb = ['vnc=1,vnc{n}={line(v)}'"),
}
NAMES = ("password", "passwd", "iscsi.password", "psk", "secret", "client-key-password", "passphrase")
PIECE = st.text(st.sampled_from("aZ9 '\"\\,;:@/%$#{}[]()=|>&!~-é\n"), max_size=5)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(NAMES), PIECE, PIECE, PIECE)
def test_in_whatever_form_a_secret_is_written_it_is_not_kept(form: str, name: str, begin: str, middle: str, end: str) -> None:
    path, written = FORMS[form]
    content = written(name, f"{begin}CANARY{middle}CANARY{end}") + "\n"
    assert "CANARY" in content
    redactor = Redactor()
    hidden = redactor.redact(path, content.encode())
    assert b"CANARY" not in hidden, hidden.decode()
    assert redactor.restore(hidden) == content.encode()
    for kept in ("/dev/xvda1", "dhcp4", "[ipv4]", "address 10.0.0.7/24", "/mnt"):
        assert (kept in content) is (kept.encode() in hidden), hidden.decode()


@BRIEF
@given(
    st.sampled_from(sorted({p for p, _ in PLACES})),
    st.lists(st.sampled_from([c for _, c in PLACES]) | st.text(max_size=30) | st.just("HIKKOSHI-SECRET-0001"), max_size=6),
)
def test_every_text_comes_back_byte_for_byte(path: str, pieces: list[str]) -> None:
    content = "\n".join(p for p in pieces if not p.startswith(BLOCK)).encode()
    redactor = Redactor()
    hidden = redactor.redact(path, content)
    assert redactor.restore(hidden) == content
    assert redactor.redact(path, content) == hidden, "the same secrets have the same words"
    again = Redactor()
    assert again.redact(path, content) == hidden, "whoever reads the file later hides it in the same way"


def test_words_of_the_guests_own_that_look_like_ours_stay_what_they_are() -> None:
    redactor = Redactor()
    content = b"# HIKKOSHI-SECRET-0002 password=one\n# HIKKOSHI-SECRET-0001\n"
    hidden = redactor.redact("/etc/sysctl.conf", content)
    assert b"one" not in hidden
    assert redactor.restore(hidden) == content


def test_bytes_of_no_encoding_come_back() -> None:
    content = b"//s/\xe5\x85\xa0 /mnt cifs password=\x85\xa0\xff,rw 0 0\n"
    redactor = Redactor()
    hidden = redactor.redact("/etc/fstab", content)
    assert b"\x85\xa0\xff" not in hidden
    assert redactor.restore(hidden) == content


def test_more_secrets_than_a_guest_can_have_are_refused() -> None:
    with pytest.raises(redaction.TooManyError):
        Redactor().redact("/etc/fstab", b"".join(b"password=%d\n" % n for n in range(10_001)))


@pytest.mark.parametrize(
    "piece",
    [
        b"a",
        b" ",
        b"-",
        b"a:",
        b"//",
        b"#a:",
        b"pass",
        b"iwconfig ",
        b"--pass ",
        b'"passw',
        b"x://a:",
        b"iscsi:",
        b"pw: '",
        b'pw="\\',
        b"pw=a\\\n",
        b"pw='\"",
        b"- pw:\n",
        b'pw=a"',
        b"# pw:",
        b"{pw: ",
        b"-u a:",
        b"token",
        b"mysql -",
        b"eyJ",
        b"-----BEGIN PRIVATE KEY-----",
    ],
)
def test_a_hostile_file_does_not_hang_whoever_reads_it(piece: bytes) -> None:
    size, begin = 1 << 15, time.process_time()
    for path in ("/etc/fstab", "/boot/grub/grub.conf", IFUPDOWN, NM, NETPLAN, RC, redaction.OUTPUT):
        Redactor().redact(path, piece * (size // len(piece)))
    assert time.process_time() - begin < 60  # half a second each, and two on a loaded machine; without limits: hours


def test_menus_and_tables_are_changed_in_the_same_way_with_or_without_their_secrets() -> None:
    menu = "default=1\npassword --md5 $1$a$CANARYxyz\ntitle a\n kernel /v root=/dev/xvda1 console=xvc0 a.password=CANARY\n"
    table = "/dev/xvda1 / ext3 defaults 1 1\n//s/x /mnt cifs password=CANARY 0 0\n"
    block = f"{BLOCK}kernelopts=root=/dev/xvda2 console=hvc0 rd.iscsi.password=CANARY-that-is-longer-than-its-word\n"
    for path, content, change in (
        ("/boot/grub/grub.conf", menu, lambda t: grub.prepared(t, 0)),
        ("/etc/fstab", table, fstab.prepared),
        ("/boot/grub2/grubenv", block.ljust(1024, "#"), grub2.with_arguments),
        ("/boot/grub2/grubenv", block.ljust(2048, "#"), grub2.with_arguments),
    ):
        redactor = Redactor()
        changed = change(redactor.redact(path, content.encode()).decode())
        assert changed != content
        assert len(changed) == len(content) or not content.startswith(BLOCK)
        assert "CANARY" not in changed
        assert redactor.restore(changed.encode()).decode() == change(content)


def test_nics_are_read_from_files_without_their_secrets() -> None:
    files = {
        NM: "[connection]\ninterface-name=eth5\n[vpn-secrets]\nx=CANARY\n[802-1x]\npassword=CANARY\n"
        "[ipv4]\naddress1=10.0.0.5/24\n",
        NETPLAN: "network:\n  ethernets:\n    eth6:\n      addresses: [10.0.0.6/24]\n      auth: {password: CANARY}\n",
        IFUPDOWN: "iface eth7 inet static\n  wpa-psk CANARY\n  address 10.0.0.7/24\n",
    }
    redactor = Redactor()
    found, warnings = interfaces.found({p: redactor.redact(p, t.encode()).decode() for p, t in files.items()})
    assert {n.name: n.address for n in found} == {f"eth{n}": f"10.0.0.{n}/24" for n in (5, 6, 7)}
    assert warnings == []


def test_it_needs_nothing_but_the_standard_library_of_an_old_python() -> None:
    tree = ast.parse(Path(redaction.__file__).read_text(), feature_version=(3, 6))
    modules = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert modules <= set(sys.stdlib_module_names)
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
