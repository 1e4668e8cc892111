"""Where a guest keeps the switches of its NICs over a restart: files of many systems, each edited as text → text.

Every edit is idempotent, leaves all other lines as they are, and takes an empty text for a file that is not there. A feature
is named as ethtool names it, lro or gro, and is switched off. A failing ethtool never keeps a NIC from coming up.

ETHTOOL_OPTS and ifup-local: sysconfig.txt of Red Hat's initscripts; post-up: interfaces(5); [ethtool] feature-*:
nm-settings-keyfile(5); dispatcher scripts: NetworkManager-dispatcher(8); LargeReceiveOffload: systemd.link(5).
"""

import re
from collections.abc import Sequence
from typing import Literal

from hikkoshi.errors import BadInput, Problem

Feature = Literal["lro", "gro"]
_LINK_KEYS = {"lro": "LargeReceiveOffload", "gro": "GenericReceiveOffload"}
_BEGIN, _END = "# hikkoshi: frames that are merged on receipt cannot be passed on", "# hikkoshi: end"
_BLOCK = re.compile(f"^{re.escape(_BEGIN)}\n(?:.*\n)*?{re.escape(_END)}\n", re.M)
_SHELL = re.compile(r"#!\s*(/usr)?/bin/(env +)?(ba|da|k|z)?sh\b")
_ETHTOOL_OPTS = re.compile(r"""^([ \t]*ETHTOOL_OPTS=)(["']?)([^"'\n]*?)\2(?=[ \t]*(?:[;#].*)?$)""", re.M)


def modprobe_conf(text: str) -> str:
    """/etc/modprobe.conf with disable_lro=1 for vmxnet3.

    Only for a module that lists this parameter: old kernels do not load one that does not, and the guest has no NIC left.
    """
    options = re.compile(r"^[ \t]*options[ \t]+vmxnet3[ \t].*$", re.M)
    setting = re.compile(r"(?<=[ \t])disable_lro=\S*")
    if any(setting.search(line) for line in options.findall(text)):
        return options.sub(lambda line: setting.sub("disable_lro=1", line[0]), text)
    return _ended(text) + "options vmxnet3 disable_lro=1\n"


def ifcfg(text: str, nic: str, feature: Feature) -> str:
    """ifcfg-ethN of Enterprise Linux 6 and 7, whose ETHTOOL_OPTS are arguments of ethtool, semicolons between its calls."""
    wanted = f"-K {nic} {feature} off"
    found = list(_ETHTOOL_OPTS.finditer(text))
    if not found:
        return _ended(text) + f'ETHTOOL_OPTS="{wanted}"\n'
    last = found[-1]  # as the shell reads them, it counts
    calls = [kept for call in last[3].split(";") if (kept := _without(call, nic, feature))]
    quote = last[2] or '"'
    return text[: last.start()] + last[1] + quote + "; ".join([*calls, wanted]) + quote + text[last.end() :]


def _without(call: str, nic: str, feature: Feature) -> str:
    """Arguments of ethtool without a setting of this feature; empty where nothing else is set."""
    words = call.split()
    if words[:2] != ["-K", nic]:
        return " ".join(words)
    pairs = [words[n : n + 2] for n in range(2, len(words), 2)]
    kept = [word for pair in pairs if pair[0] != feature for word in pair]
    return " ".join([*words[:2], *kept]) if kept else ""


def ifup_local(text: str, nics: Sequence[str], feature: Feature, ethtool: str) -> str:
    """/sbin/ifup-local, which initscripts run with the name of each NIC that came up. `BadInput` where it is no shell script."""
    return _script(text, "$1", nics, feature, ethtool)


def dispatcher(text: str, nics: Sequence[str], feature: Feature, ethtool: str) -> str:
    """A script that NetworkManager runs with NIC and event, of which `up` is the one."""
    return _script(text, "$2:$1", [f"up:{nic}" for nic in nics], feature, ethtool)


def _script(text: str, word: str, patterns: Sequence[str], feature: Feature, ethtool: str) -> str:
    block = f'{_BEGIN}\ncase "{word}" in\n{"|".join(patterns)}) {ethtool} -K "$1" {feature} off ;;\nesac\n{_END}\n'
    rest = _ended(_BLOCK.sub("", text)) or "#!/bin/sh\n"
    if rest.startswith("#!") and not _SHELL.match(rest):
        raise BadInput(
            Problem(
                code="script-of-another-shell",
                what="a script that NICs are set up by is not one of the shell",
                found=rest.partition("\n")[0],
                expected="#!/bin/sh",
                remedy=f"have it run `{ethtool} -K NIC {feature} off` for {', '.join(patterns)} by hand",
            )
        )
    first, _, others = rest.partition("\n") if rest.startswith("#!") else ("", "", rest)
    # at the top: many such scripts end with `exit`
    return (f"{first}\n" if first else "") + block + others


def interfaces(text: str, nic: str, feature: Feature, ethtool: str) -> str:
    """/etc/network/interfaces, or a file that it takes in, which has a stanza of the NIC."""
    option = f"post-up {ethtool} -K $IFACE {feature} off || true"
    start = re.search(rf"^[ \t]*iface[ \t]+{re.escape(nic)}[ \t](?:[^\n]*\\\n)*[^\n]*$", text, re.M)
    if start is None:
        raise BadInput(
            Problem(
                code="nic-without-stanza",
                what=f"no stanza of {nic} in a file of ifupdown",
                expected=f"a line `iface {nic} inet …`",
                remedy="collect again: the file has changed",
            )
        )
    end = re.compile(r"^[ \t]*(?:iface|mapping|auto|allow-\S+|source|source-directory|rename)\b", re.M)
    after = end.search(text, start.end())
    options = text[start.end() : after.start() if after else len(text)]
    if option in (line.strip() for line in options.split("\n")):
        return text
    return _ended(text[: start.end()]) + f"    {option}\n" + text[start.end() + 1 :]


def keyfile(text: str, feature: Feature) -> str:
    """A connection of NetworkManager 1.14 or later."""
    return _with_key(text, "ethtool", f"feature-{feature}", "false")


def link(text: str, feature: Feature) -> str:
    """A .link file of systemd that already is the NIC's. A new one would take the place of the one that names the NIC."""
    return _with_key(text, "Link", _LINK_KEYS[feature], "no")


def _with_key(text: str, section: str, key: str, value: str) -> str:
    """An ini file in which the key has this value in this section, wherever it was set there, else at its head."""
    lines = _ended(text).split("\n")[:-1]
    current, heads, settings = "", list[int](), list[int]()
    for n, line in enumerate(lines):
        head = re.match(r"\s*\[(.*)\]\s*$", line)
        if head:
            current = head[1]
            heads += [n] if current == section else []
        elif current == section and re.match(rf"\s*{re.escape(key)}\s*=", line):
            settings.append(n)
    for n in settings:
        lines[n] = f"{key}={value}"
    if heads and not settings:
        lines.insert(heads[0] + 1, f"{key}={value}")
    if not heads:
        lines += [*([""] if lines else []), f"[{section}]", f"{key}={value}"]
    return "\n".join(lines) + "\n"


def _ended(text: str) -> str:
    """The text with its last line ended."""
    return text if not text or text.endswith("\n") else text + "\n"
