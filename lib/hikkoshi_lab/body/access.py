"""How somebody gets into the lab's guests: one pair of keys for all of them on this computer, made once and kept in the cache.

A guest is made with its host key and with whom it lets in, so that it has both before its move and after.
"""

import base64
import contextlib
import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hikkoshi import files, tool
from hikkoshi_lab import ext3
from hikkoshi_lab.ext3 import Node, Tree, file, link

if TYPE_CHECKING:  # whoever builds a guest needs no package
    from hikkoshi_lab.network import Network

CLIENT, HOST = "client", "host"
CONFIG, KNOWN, SERVED = "ssh_config", "known_hosts", "sshd_config"  # in the lab's folder
UNLOCKED = "shadow"  # there, too: sshd lets nobody in whose account is locked, as root's is on many computers
PROGRAMS = {"dropbear-bin": ("sbin/dropbear",), "tcpdump": ("bin/tcpdump",)}
LIBRARIES = {  # theirs
    "libcrypt1": ("libcrypt.so.1",),
    "libtomcrypt1": ("libtomcrypt.so.1",),
    "libtommath1": ("libtommath.so.1",),
    "libgmp10": ("libgmp.so.10",),
    "zlib1g": ("libz.so.1",),
    "libpcap0.8": ("libpcap.so.0.8",),
    "libdbus-1-3": ("libdbus-1.so.3",),
    "libssl3": ("libcrypto.so.3",),
    "libsystemd0": ("libsystemd.so.0",),
    "libcap2": ("libcap.so.2",),
    "libgcrypt20": ("libgcrypt.so.20",),
    "libgpg-error0": ("libgpg-error.so.0",),
    "liblzma5": ("liblzma.so.5",),
    "libzstd1": ("libzstd.so.1",),
    "liblz4-1": ("liblz4.so.1",),
}
_SSHD = """\
#!/bin/sh
# sshd          Start up the SSH server daemon
#
# chkconfig: 2345 55 25
# description: A shell for whoever has the key.
. /etc/rc.d/init.d/functions
[ "$1" = start ] && action 'Starting sshd: ' /sbin/dropbear -s -r /etc/ssh/ssh_host_ed25519_key
exit 0
"""
_SERVED = """\
HostKey "{host}"
AuthorizedKeysFile "{client}.pub"
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
"""
# in mounts of its own: nothing of this computer is changed
_SSHD_THERE = "mount -t tmpfs tmpfs /run && mkdir /run/sshd && mount --bind {} /etc/shadow && exec /usr/sbin/sshd -D -f {}"
_CONFIG = """\
# The lab's guests, from where the lab's administrator sits. Made by `hikkoshi lab up`.
Host gateway
  HostName {address}
  HostKeyAlias gateway
  User root
  IdentityFile "{client}"
  IdentitiesOnly yes
  UserKnownHostsFile "{known}"
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  ProxyCommand nsenter --net="{door}" -- bash -c 'trap "" HUP; exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3; kill $!'
"""


@dataclass(frozen=True)
class Access:
    """A guest's host key, as dropbear reads it, and its authorized_keys."""

    host_key: bytes
    authorized: bytes


def folder() -> Path:
    """Where the keys are, made if need be."""
    made = tool.cache() / "ssh"
    if not made.is_dir():
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="ssh.", dir=made.parent) as part:
            (own := Path(part, "keys")).mkdir()
            for name in (CLIENT, HOST):
                tool.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name}@lab", "-f", own / name])
            with contextlib.suppress(OSError):  # somebody was quicker
                own.rename(made)
    return made


def keys() -> Access:
    """What a guest is made with."""
    own = folder()
    return Access(dropbear((own / HOST).read_text()), (own / CLIENT).with_suffix(".pub").read_bytes())


def reached(tree: Tree, own: Access) -> dict[str, Node]:
    """What more there is in a guest's tree that lets somebody in, with the user that tcpdump works as."""
    found: dict[str, Node] = {
        "etc/rc.d/init.d/sshd": file(_SSHD, 0o755),
        "root/.ssh": ext3.folder(0o700),
        "etc/ssh": ext3.folder(),
    }
    found |= {f"etc/rc.d/rc{level}.d/S55sshd": link("../init.d/sshd") for level in (2, 3, 4, 5)}
    found["etc/ssh/ssh_host_ed25519_key"] = file(own.host_key, 0o600)
    found["root/.ssh/authorized_keys"] = file(own.authorized, 0o600)
    found["etc/passwd"] = file(tree["etc/passwd"].data + b"tcpdump:x:72:72::/:/sbin/nologin\n")
    return found


def dropbear(key: str) -> bytes:
    """A private ed25519 key of OpenSSH's, without a passphrase, in dropbear's form: its kind, then both of its halves."""
    kind = b"\0\0\0\x0bssh-ed25519"
    text = base64.b64decode("".join(re.findall(r"^[A-Za-z0-9+/=]+$", key, re.M)))
    both = text.rpartition(kind)[2][4 + 32 :]  # behind the public half
    return kind + both[: 4 + 64]


def configure(lab: Path, address: str) -> Path:
    """Write an ssh_config(5) by which `gateway` is reached at an address, through the lab's network; its path."""
    own = folder()
    files.write(lab / KNOWN, f"gateway {(own / HOST).with_suffix('.pub').read_text()}")
    text = _CONFIG.format(address=address, client=own / CLIENT, known=lab / KNOWN, door=lab / "netns" / "admin")
    files.write(lab / CONFIG, text)
    return lab / CONFIG


def serve(lab: Path, network: "Network") -> None:
    """Have the namespace that plays the old gateway let in whom the moved one lets in, with the same host key."""
    own = folder()
    files.write(lab / SERVED, _SERVED.format(host=own / HOST, client=own / CLIENT))
    files.write(lab / UNLOCKED, "root:*:19000::::::\n")
    network.daemon("gw", ["sh", "-c", _SSHD_THERE.format(shlex.quote(str(lab / UNLOCKED)), shlex.quote(str(lab / SERVED)))])


def remove(lab: Path) -> None:
    """Remove what `configure` wrote."""
    for name in (CONFIG, KNOWN, SERVED, UNLOCKED):
        (lab / name).unlink(missing_ok=True)
