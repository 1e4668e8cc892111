"""Clusters and scripts of a Dom-0 that start a guest: after a cut-over they would start the source again, some at once.

Looked at are the files that they keep: Pacemaker's CIB, Heartbeat's haresources, rgmanager's cluster.conf, Ganeti's list of
instances; and whatever a Dom-0 runs at its start or by the clock, with the scripts that it names. A cluster that does not name
the guest, or that keeps no such file, may start it by other means: that is not known, and told.

Sources: ocf_heartbeat_Xen(7), ocf_heartbeat_VirtualDomain(7), Pacemaker Explained, haresources(5), rgmanager's vm(8), crontab(5),
systemd.unit(5), ganeti-watcher(8).
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from hikkoshi.xen.tree import Tree

_CIBS = (Path("/var/lib/pacemaker/cib/cib.xml"), Path("/var/lib/heartbeat/crm/cib.xml"))
_HARESOURCES, _RGMANAGER = Path("/etc/ha.d/haresources"), Path("/etc/cluster/cluster.conf")
_GANETI = Path("/var/lib/ganeti/config.data")
_CLUSTERS = (  # where one of these is, a cluster or a manager is installed
    *("/etc/corosync/corosync.conf", "/etc/ais/openais.conf", "/etc/ha.d/ha.cf", "/etc/VRTSvcs/conf/config/main.cf"),
    *("/var/lib/ganeti/ssconf_cluster_name", "/etc/cloudstack/agent/agent.properties", "/var/lib/one/remotes"),
    *("/etc/xensource-inventory", "/var/lib/libvirt/libvirt-guests"),
)
_TEXTS = (Path("/etc/VRTSvcs/conf/config/main.cf"), Path("/var/lib/libvirt/libvirt-guests"))  # that name guests, line by line
_FILES = (  # that a Dom-0 reads at its start, by the clock, or all the time
    *("/etc/rc.local", "/etc/rc.d/rc.local", "/etc/init.d/boot.local", "/etc/init.d/after.local", "/etc/inittab"),
    *("/etc/conf.d/local.start", "/etc/crontab", "/etc/anacrontab", "/etc/rc.conf", "/etc/monitrc", "/etc/monit.conf"),
    *("/etc/keepalived/keepalived.conf", "/etc/drbd.conf"),
)
_PLACES = (  # (folder, how deep)
    *(("/etc/init.d", 0), ("/etc/rc.d/init.d", 0), ("/etc/rc.d", 0), ("/etc/local.d", 0), ("/etc/init", 0), ("/etc/event.d", 0)),
    *(("/etc/systemd/system", 1), ("/usr/local/lib/systemd/system", 1), ("/usr/lib/systemd/system", 0)),
    *(("/lib/systemd/system", 0), ("/etc/cron.d", 0), ("/etc/cron.hourly", 0), ("/etc/cron.daily", 0), ("/etc/cron.weekly", 0)),
    *(("/etc/cron.monthly", 0), ("/var/spool/cron", 1), ("/etc/monit.d", 0), ("/etc/monit", 1), ("/etc/service", 1)),
    *(("/var/spool/at", 1), ("/etc/rc.local.d", 0), ("/etc/drbd.d", 0), ("/etc/udev/rules.d", 0), ("/etc/watchdog.d", 0)),
    *(("/etc/supervisor/conf.d", 0), ("/etc/network/if-up.d", 0), ("/etc/NetworkManager/dispatcher.d", 0)),
)
FOLDERS = tuple((Path(folder), depth) for folder, depth in _PLACES)
_OF_XEN = re.compile(r"(?:xendomains?|xend|xencommons|xenstored|xenconsoled|libvirtd?|libvirt-guests|functions)(?:\.\w+)?")
_STARTS = re.compile(  # a command that starts a guest, with its arguments
    r"(?<![\w.-])(?:x[ml]|\$\{?(?:x[ml](?:_?(?:cmd|bin))?|toolstack)\}?)[ \t\"',]+(?:-\S+[ \t]+)*"
    r"(?P<how>create|start|restore|resume)\b(?P<xen>[^\n;&|]*)"
    r"|(?<![\w.-])xe\b[ \t\"',]+vm-(?:start|resume)\b(?P<xe>[^\n;&|]*)"
    r"|(?<![\w.-])virsh\b[^\n;&|]*?[ \t\"'](?:create|start|restore)\b(?P<virsh>[^\n;&|]*)",
    re.IGNORECASE,
)
# the shell's, systemd's, or a variable of a program's: which guest is not written there
_CHOSEN = re.compile(r"[$`*?%]|\{\}|/dev/stdin|^['\"]\s*,\s*[A-Za-z_]")
_MOVES = re.compile(r"(?<![\w.-])(?:cd[ \t]|chdir\()|^WorkingDirectory=", re.MULTILINE)
_PLACE = re.compile(r"(?:(?<![\w.-])cd[ \t]+|^WorkingDirectory=|chdir\([ \t]*)['\"]?(/[\w./+@-]+)", re.MULTILINE)
_WORD = re.compile(r"[\w./+@-]+")
_GLOB = re.compile(r"(/(?:[\w.@-]+/)+)[\w.-]*\*")
_SCRIPT = re.compile(r"(?<![\w.$}*-])/(?:[\w.+@-]+/)*[\w.+@-]+")
_NO_START = (
    *("Filesystem", "LVM", "LVM-activate", "drbd", "drbddisk", "IPaddr", "IPaddr2", "iSCSITarget", "iSCSILogicalUnit"),
    *("exportfs", "MailTo", "Raid1", "Dummy"),
)
_OFF = {"is-managed": "false", "target-role": "stopped", "maintenance": "true"}
_ENDINGS = "cfg|conf|xml|xl|xm|xen|hvm|pv|sxp|service|sh|start|chk|save|saved|state"  # of a guest's file, or its memory
_ELSEWHERE = ("/dev/", "/proc/", "/sys/", "/run/", "/bin/", "/sbin/", "/usr/bin/", "/etc/xen/scripts/", "/etc/init.d/")
_LARGEST = 1 << 24  # bytes of a cluster's own file
_DEEPEST = 4  # scripts that call one another


@dataclass(frozen=True)
class Found:
    """What starts the guest: where it is written, and how a person takes that away. `line` 0: the whole file."""

    path: Path
    line: int
    away: str


@dataclass(frozen=True)
class Starters:
    """The clusters and scripts of one Dom-0, and the guest that is looked for in them."""

    tree: Tree
    names: frozenset[str]  # of the guest, its UUID, and its configurations
    is_configuration: Callable[[Path], bool]  # whether a file of the Dom-0 is a configuration of the guest

    def found(self) -> Iterator[Found]:
        """Everything that starts the guest, or keeps it running; what is not known is kept by the tree."""
        self.tree.expect(files=[*_CIBS, _HARESOURCES, _RGMANAGER, _GANETI, *_TEXTS, *map(Path, (*_CLUSTERS, *_FILES))])
        clusters = [*self._pacemaker(), *self._heartbeat(), *self._rgmanager(), *self._ganeti()]
        for path in _TEXTS:
            clusters += self._plain(path, self.tree.text(path, _LARGEST), "see the tool that keeps this file")
        yield from clusters
        if not clusters:
            there = [p for p in (*_CIBS, _HARESOURCES, _RGMANAGER, _GANETI, *map(Path, _CLUSTERS)) if self.tree.exists(p)]
            for path in there[:1]:
                self.tree.not_known(
                    f"a cluster or a manager of guests is installed ({path}): see there whether it starts the guest"
                )
        seen: set[Path] = set()
        started = wave = [*self._started()]
        for _ in range(_DEEPEST):
            called = dict.fromkeys(word for path in wave for word in self._called(self.tree.text(path)))
            self.tree.expect(scripts=called)
            wave = [*filter(self.tree.is_script, called)]
        for path in started:
            yield from self._script(path, seen, _DEEPEST)

    def _pacemaker(self) -> Iterator[Found]:
        for path in _CIBS:
            if not (text := self.tree.text(path, _LARGEST)):
                continue
            try:
                whole = self._xml(text)
            except (ET.ParseError, ValueError):
                yield from self._plain(path, text, "see the cluster's own tool (crm or pcs)")
                continue
            options = {o.get("name"): (o.get("value") or "").lower() for o in whole.findall(".//cluster_property_set/nvpair")}
            if options.get("maintenance-mode") == "true" or options.get("is-managed-default") == "false":
                continue
            resources = whole.find(".//resources")
            for one in self._managed(whole if resources is None else resources):
                if one.get("type") not in _NO_START and self._meant(ET.tostring(one, encoding="unicode")):
                    name = one.get("id", "")
                    away = f"crm resource unmanage {name}   (or: pcs resource unmanage {name})"
                    yield Found(path, self._line(text, name), f"type on {self.tree.name}: {away}")

    def _managed(self, element: ET.Element) -> Iterator[ET.Element]:
        """The resources that the cluster starts: not those, nor those in groups, that somebody took out of its hands."""
        said = {n.get("name"): (n.get("value") or "").lower() for n in element.findall("meta_attributes/nvpair")}
        if any(said.get(key) == value for key, value in _OFF.items()):
            return
        if element.tag in ("primitive", "nvpair"):
            yield element
            return
        for part in element:
            yield from self._managed(part)

    def _heartbeat(self) -> Iterator[Found]:
        text = self.tree.text(_HARESOURCES)
        yield from self._plain(_HARESOURCES, text, "see haresources on all of its nodes")

    def _rgmanager(self) -> Iterator[Found]:
        text = self.tree.text(_RGMANAGER, _LARGEST)
        if "<rm" not in text:
            return
        plain = self._plain(
            _RGMANAGER, text, "freeze the service first (clusvcadm -Z vm:NAME), for the cluster may stop the guest"
        )
        try:
            whole = self._xml(text)
        except (ET.ParseError, ValueError):
            yield from plain
            return
        if any(self._meant(ET.tostring(one, encoding="unicode")) for tag in ("vm", "script") for one in whole.iter(tag)):
            yield from plain

    def _ganeti(self) -> Iterator[Found]:
        if not (text := self.tree.text(_GANETI, _LARGEST)):
            return
        try:
            instances = json.loads(text)["instances"]
            up = [
                one["name"]
                for one in instances.values()
                if one.get("admin_state", one.get("status")) not in ("down", "offline", False)
            ]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            yield from self._plain(_GANETI, text, "see Ganeti's own tool (gnt-instance list)")
            return
        for name in self.names & {*map(str, up)}:
            why = "at the time of the cut-over: its watcher starts again what it has not stopped itself"
            yield Found(_GANETI, 0, f"type on {self.tree.name}: gnt-instance shutdown {name}, {why}")

    def _plain(self, path: Path, text: str, more: str) -> Iterator[Found]:
        """The first line of a file of a cluster that names the guest."""
        for number, line in self._lines(text):
            if self._meant(line):
                yield Found(path, number, f"on {self.tree.name}, take the guest out of {path} (line {number}); {more}")
                return

    def _started(self) -> Iterator[Path]:
        yield from map(Path, _FILES)
        for folder, depth in FOLDERS:
            yield from self.tree.below(folder, lambda path: not _OF_XEN.fullmatch(path.name), depth)

    def _script(self, path: Path, seen: set[Path], deeper: int) -> Iterator[Found]:
        """Where a file starts the guest, or a script that it names does."""
        real = self.tree.real(path)
        instance = "@" in path.name  # xen@web01.service is a link to the file of all guests
        if (real in seen and not instance) or not (text := self.tree.text(path)) or "\0" in text:
            return
        seen.add(real)
        lines = [*self._lines(text)]
        code = "\n".join(line for _, line in lines)
        folders = ["/etc/xen", *dict.fromkeys(_PLACE.findall(code))]
        unknown = ""
        for number, found in ((number, found) for number, line in lines for found in _STARTS.finditer(line)):
            command, said = found[0].strip()[:80], found["xen"] or found["virsh"] or found["xe"] or ""
            chosen = bool(_CHOSEN.search(said)) or not said.strip()
            chosen |= found["how"] == "create" and not self._is_there(said, folders, whole=not _MOVES.search(code))
            if self._meant(said, folders) or (chosen and self._chosen(f"{path.name}\n{code}")):
                yield Found(path, number, f"on {self.tree.name}, take line {number} out of {path}, or put # before it: {command}")
                return
            if chosen and "@" not in path.name:
                unknown = unknown or f"which guests {path}:{number} starts: {command}"
        if unknown:
            self.tree.not_known(unknown)
        called = self._called(text) if deeper else []
        self.tree.expect(scripts=called)
        for word in filter(self.tree.is_script, called):
            yield from self._script(word, seen, deeper - 1)

    def _called(self, text: str) -> list[Path]:
        """The paths in a file that may be those of scripts."""
        code = "\n".join(line for _, line in self._lines(text))
        words = dict.fromkeys(_SCRIPT.findall(code))
        return [Path(w) for w in words if not _OF_XEN.fullmatch(Path(w).name) and not w.startswith(_ELSEWHERE)]

    def _chosen(self, code: str) -> bool:
        """Whether the guest is among those that a script goes through: named in it, or in a folder of it."""
        files = (path for folder in dict.fromkeys(_GLOB.findall(code)) for path in self.tree.entries(Path(folder)))
        return self._meant(code) or any(map(self.is_configuration, files))

    def _meant(self, text: str, folders: Sequence[str] = ()) -> bool:
        """Whether a text names the guest, or a file that is a configuration of it; in `folders` without its whole path."""
        if self._named(text):
            return True
        paths = self._paths(text, folders)
        self.tree.expect(files=paths)
        return any(map(self.is_configuration, paths))

    def _is_there(self, text: str, folders: Sequence[str], *, whole: bool) -> bool:
        """Whether a command names a file of the Dom-0 that can be read, or with `whole` none by its whole path."""
        named = self._paths(text, () if whole else folders)
        return not named or any(self.tree.text(path) for path in self._paths(text, folders))

    @staticmethod
    def _paths(text: str, folders: Sequence[str]) -> list[Path]:
        words = sorted({w for w in _WORD.findall(text) if w.startswith("/") or (folders and not w.startswith("-"))})
        return [Path(folder, w) for w in words[:1000] if not w.startswith(_ELSEWHERE) for folder in folders or ("/",)]

    def _named(self, text: str) -> bool:
        text = re.sub(r"/dev/\S*", " ", text)
        names = "|".join(map(re.escape, sorted(self.names)))
        return bool(re.search(rf"(?<![\w.-])(?:{names})(?:\.(?:{_ENDINGS}))?(?![\w/-]|\.\w)", text, re.IGNORECASE))

    @staticmethod
    def _lines(text: str) -> list[tuple[int, str]]:
        """The lines that count, with their numbers: without comments, and one that goes on in the next made one."""
        text = re.sub(r"<!--.*?-->", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL)
        found: list[tuple[int, str]] = []
        going_on = False
        for number, line in enumerate(text.split("\n"), 1):
            whole = line if going_on else re.sub(r"^[ \t]*[#;].*|[ \t]#.*", "", line)
            if going_on:
                found[-1] = (found[-1][0], f"{found[-1][1][:-1]} {whole}")
            elif whole.strip():
                found.append((number, whole))
            going_on = bool(found) and whole.endswith("\\")
        return found

    @staticmethod
    def _line(text: str, name: str) -> int:
        """The line of the resource with this ID."""
        at = re.search(rf"""<\w+[^>]*\bid=["']{re.escape(name)}["']""", text)
        return text.count("\n", 0, at.start()) + 1 if at else 0

    @staticmethod
    def _xml(text: str) -> ET.Element:
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise ValueError("no cluster writes such a file")
        return ET.fromstring(text)
