"""Another machine by the OpenSSH client: how it is named, and why nobody answers there.

Address, keys, jump hosts and old algorithms are the business of the user's ssh_config(5), or of one that an address names.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from hikkoshi.errors import Problem, printable
from hikkoshi.tool import tail

ADDRESS = (  # [user@]host[:port], an IPv6 address in brackets; nothing in it is taken for an option
    r"^([A-Za-z0-9_][A-Za-z0-9_.-]*@)?([A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\])(:[0-9]{1,5})?$"
)
STRICT = "StrictHostKeyChecking=yes"  # for whoever does not leave to ssh_config whether a host key that is not known is taken
FAILED = 255  # the status with which ssh itself fails
_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=15",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    # whatever ssh_config says for people who log in: no command and no tunnels of its own, nothing of ours to be used there, and
    # no other session that ends with one of ours
    "RemoteCommand=none",
    "PermitLocalCommand=no",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ControlMaster=no",
)
_OLD = re.compile(r"no matching (key exchange method|host key type|cipher|MAC) found\. Their offer: ([\w@.,-]+)", re.ASCII)
_SENT = re.compile(r"The fingerprint for the (\S+) key sent by the remote host is\s+(\S+?)\.?$", re.MULTILINE)
_KNOWN = re.compile(r"^Offending \S+ key in (.+:\d+)$", re.MULTILINE)
_ALLOWING = {
    "key exchange method": "`KexAlgorithms +{0}`",
    "host key type": "`HostKeyAlgorithms +{0}` and `PubkeyAcceptedAlgorithms +{0}`",
    "cipher": "`Ciphers +{0}`",
    "MAC": "`MACs +{0}`",
}
_LEAST_BAD = ("diffie-hellman-group14-sha1", "ssh-rsa", "aes128-cbc", "hmac-sha1")  # that OpenSSH 4.3 (CentOS 5) has, too


@dataclass(frozen=True)
class Login:
    """A machine as ssh is told it: [user@]host, and more options for ssh."""

    host: str
    options: tuple[str, ...] = ()

    @classmethod
    def at(cls, address: str, folder: Path) -> "Login":
        """That of ssh://[user@]host[:port][?config=PATH]; `ValueError` for anything else.

        PATH is of an ssh_config(5) in the place of the user's own; a relative one starts at `folder`.
        """
        scheme, _, rest = address.partition("://")
        written, _, config = rest.partition("?config=")
        if scheme != "ssh":
            raise ValueError(address)
        login = cls.of(written.rstrip("/"))
        return cls(login.host, (*login.options, "-F", str((folder / config).absolute()))) if config else login

    @classmethod
    def of(cls, written: str) -> "Login":
        """That of [user@]host[:port]; `ValueError` for anything else. Capitals stay: ssh_config(5) tells them apart."""
        found = re.fullmatch(r"(.*?@)?\[?(.*?)\]?(?::([0-9]+))?", written)
        if not re.fullmatch(ADDRESS.strip("^$"), written) or not found:
            raise ValueError("[user@]host[:port], an IPv6 address in brackets")
        if found[3] and not 0 < int(found[3]) < 65536:
            raise ValueError(f"a port from 1 to 65535, not {found[3]}")
        return cls(f"{found[1] or ''}{found[2]}", ("-p", found[3]) if found[3] else ())

    def argv(self, *own: str) -> list[str]:
        """What starts a command there, a word for the other side's shell that follows; `own` options come first, and so count."""
        return ["ssh", "-T", *_options(*own, *_OPTIONS), *self.options, "--", self.host]

    def asking(self, what: str, *own: str) -> list[str]:
        """What asks a shared connection something (`-O`)."""
        return ["ssh", *_options(*own), *self.options, "-O", what, "--", self.host]

    @property
    def by_hand(self) -> str:
        """What a person types to see whether it works."""
        return shlex.join(["ssh", *self.options, self.host, "true"])

    @property
    def _known_as(self) -> str:
        """The name that its host key has in known_hosts."""
        host = self.host.rpartition("@")[2]
        return f"[{host}]:{self.options[1]}" if self.options[:1] == ("-p",) and self.options[1] != "22" else host

    def unreached(self, words: str) -> Problem:
        """The problem that no shell was reached, by what ssh said."""
        words = printable(words.replace("\r\n", "\n")).strip()  # so ssh ends its lines
        found, address = tail(words, 3), self.host.rpartition("@")[2]
        remedy = f"type `{self.by_hand}` here until it works without a question: host key, key and agent, ssh_config(5)"
        if "REMOTE HOST IDENTIFICATION HAS CHANGED" in words:
            code, what = "ssh-key-changed", "the machine shows another host key than before: it may be another one"
            remedy = (
                "find out why before anything else. Where the machine was installed anew, take its old key out: `ssh-keygen -R "
                f"{self._known_as}`. Then type `{self.by_hand}` here once, with its new key before you"
            )
            if (sent := _SENT.search(words)) and (known := _KNOWN.search(words)):
                found = f"{sent[1]} {sent[2]}; the key that is known stands in {known[1]}"
        elif "Host key verification failed" in words:
            code, what = "ssh-key-unknown", "the machine's host key is not known here"
            remedy = f"type `{self.by_hand}` here once, and compare the key that it shows with the one that it has in /etc/ssh"
        elif re.search(r"Permission denied \(|Too many authentication failures", words):
            code, what = "ssh-login-refused", "the machine does not let this user in"
            remedy = f"type `{self.by_hand}` here until it works without a question: key and agent, user, ssh_config(5)"
        elif old := _OLD.search(words):
            offer = old[2].split(",")
            lines = _ALLOWING[old[1]].format(next((x for x in _LEAST_BAD if x in offer), offer[0]))
            code, what = "ssh-too-old", "the machine knows only algorithms that ssh here does not use any more"
            remedy = f"allow one for this machine alone, below `Host {address}` in ~/.ssh/config: {lines}"
        else:
            code, what = "ssh-unreachable", "the machine cannot be reached by ssh"
        return Problem(code=code, what=what, where=self.host, found=found, expected="a shell there", remedy=remedy)


def _options(*told: str) -> list[str]:
    return [word for one in told for word in ("-o", one)]
