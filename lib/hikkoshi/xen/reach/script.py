"""Questions to a Dom-0 as scripts for its sh, with what coreutils 5.97 and Linux 2.6.18 have; and what their answers say."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

BATCH = 1 << 18  # bytes of each file that come in a batch: a configuration has a few hundred
_MOST = 2000  # files of one folder
_TOGETHER = 500  # paths that are given to one program: Linux 2.6.18 takes 128 KiB of arguments
_BEGINNING = 2  # bytes: whether a file is a script

# Of each path: a line with its kind, and whether its content comes; the path; where its links lead; the content, and a line with
# the status of what read it. A path with a line's end in it cannot be told: its folder is called odd.
# Each program that is started there takes its time, so that one serves many paths where it can: `leads` has a line for each path,
# and then one for where it leads; `holds` a line for each path, and then one for how long it is, and `bytes` what is in them.
_LOOK = """\
kind() {
  k=other
  if test -d "$1"; then k=folder; test -r "$1" && test -x "$1" || k=denied
  elif test -f "$1"; then k=file; test -r "$1" || k=denied
  elif test -b "$1"; then k=device
  elif test ! -e "$1"; then
    k=nothing; e=$1
    while test -n "$e" && test ! -e "$e"; do e=${e%/*}; done
    test -x "${e:-/}" || test ! -d "${e:-/}" || k=denied
  fi
}
item() {
  case $1$2 in *"$nl"*) k=odd; printf '\\n%s odd no\\n%s\\n\\n' $m "${1%/*}"; return;; esac
  kind "$1"
  h=no; test $k != file || h=$3
  printf '\\n%s %s %s\\n%s\\n%s\\n' $m $k $h "$1" "$2"
}
one() {
  r=; test ! -e "$1" || r=`readlink -f "$1"`
  item "$1" "$r" yes
  test $k != file || { head -c $2 < "$1"; printf '\\n%s end %s\\n' $m $?; }
}
leads() {
  printf '\\n%s leads no\\n/\\n\\n' $m
  printf '%s\\n' "$@"
  q=`readlink -f "$@" 2>/dev/null`; n=$#
  if ( IFS=$nl; set -f; set -- $q; test $# = $n ); then echo "$q"
  else for x; do readlink -f "$x" || echo; done # coreutils before 8.13 take one
  fi
}
holds() {
  t=$1; shift
  printf '\\n%s holds %s\\n/\\n\\n' $m $t
  printf '%s\\n' "$@"
  stat -L -c %s "$@"
  printf '\\n%s bytes no\\n/\\n\\n' $m
  head -q -c $t "$@"
}
many() {
  t=$1; shift; n=$#
  for x; do item "$x" '' no; test $k != file || set -- "$@" "$x"; done
  shift $n
  test $# = 0 || { leads "$@"; holds $t "$@"; }
}
walk() {
  r=; test ! -e "$1" || r=`readlink -f "$1"`
  item "$1" "$r" no
  test $k = folder || return
  case $w in *"$nl$2$r$nl"*) printf '\\n%s again no\\n%s\\n%s\\n' $m "$1" "$r"; return;; esac
  w="$w$nl$2$r$nl"
  printf '\\n%s listed no\\n%s\\n\\n' $m "$1"
  d=$1; z=$2; t=$3; o=$4; c=0
  set --
  for x in "$d"/*; do
    test -e "$x" || test -h "$x" || continue
    c=$((c+1))
    test $c -le $o || { printf '\\n%s crowded no\\n%s\\n\\n' $m "$d"; break; }
    if test -d "$x" && test $z -gt 0; then ( walk "$x" $((z-1)) $t $o )
    elif test -h "$x"; then item "$x" '' no; case $k in odd|nothing|denied) ;; *) set -- "$@" "$x";; esac
    else item "$x" "$r/${x##*/}" no
    fi
  done
  test $# = 0 || leads "$@"
  c=0
  set --
  for x in "$d"/*; do
    test -f "$x" && test -r "$x" && test ! -h "$x" || continue
    case $x in *"$nl"*) continue;; esac
    c=$((c+1)); test $c -le $o || break
    set -- "$@" "$x"
    test $# -lt 500 || { holds $t "$@"; set --; }
  done
  test $# = 0 || holds $t "$@"
}
w=
"""
_MARKS = """\
mark() {
  b=; q=`readlink -f "$2"`
  case $q in
  /dev/loop*)
    f=/sys/block/${q##*/}/loop/backing_file
    if test -r $f; then b=`cat $f`; else b=`losetup "$q" 2>/dev/null`; b=${b##*\\(}; b=${b%)*}; fi
    test -z "$b" || b=`stat -L -c %d:%i "$b" 2>/dev/null`;;
  esac
  echo "$1|`stat -L -c '%F|%d:%i|%t:%T' "$2" 2>/dev/null`|$b"
}
"""
TOOLSTACK = "if command -v xl >/dev/null || ! command -v xm >/dev/null; then echo xl; else echo xm; fi"
_KINDS = ("file", "folder", "device", "other", "nothing", "denied")


@dataclass(frozen=True)
class Item:
    """One path of a Dom-0. `content` is None where it did not come, or where this is no file."""

    kind: str
    real: str
    content: bytes | None = None
    whole: bool = True  # whether the content is all there is
    script: bool | None = None  # whether it is a program that is a text; None where that is not known


@dataclass
class Files:
    """What a Dom-0 has told of its files so far."""

    items: dict[str, Item] = field(default_factory=dict)
    listed: dict[str, list[str]] = field(default_factory=dict)  # {folder: names in it}
    untold: set[str] = field(default_factory=set)  # folders with more in them than is told

    def add(self, answer: bytes, mark: str, largest: int = BATCH) -> None:
        """Take the answer to `look`; `ValueError` for what is none."""
        pieces = answer.split(b"\n%s " % mark.encode())
        if pieces.pop(0):
            raise ValueError("words that belong to nothing")
        at = iter(pieces)
        for piece in at:
            head, path, real, rest = _parts(piece)
            kind, _, comes = head.partition(" ")
            if kind == "listed":
                self.listed.setdefault(path, [])
            elif kind == "again":
                self._again(path, real)
            elif kind == "leads":
                self._leads(*_halves(rest))
            elif kind == "holds":
                self._holds(*_halves(rest), _parts(next(at, b""))[3], int(comes) if comes.isdigit() else 0)
            elif kind in ("odd", "crowded"):
                self.untold.add(path)
            elif kind in _KINDS and comes == "yes":
                if (end := re.fullmatch(rb"end (\d+)\n", next(at, b""))) is None:
                    raise ValueError(f"no end of {path}")
                kind = kind if end[1] == b"0" else "denied"
                self._item(path, Item(kind, real, rest[: largest + 1], len(rest) <= largest, rest.startswith(b"#!")))
            elif kind in _KINDS and not rest:
                self._item(path, Item(kind, real))
            else:
                raise ValueError(f"a path that is {kind[:40]!r}" if kind not in _KINDS else f"a content that {path} has not")

    def file(self, item: Item) -> Item:
        """What is told of a file, by another name that links give it, too."""
        return item if item.content is not None else self.items.get(item.real, item)

    def unread(self) -> list[str]:
        """The files that links lead to, and the programs that are texts, as far as their content has not come."""
        files = [self.file(x) for x in self.items.values() if x.kind == "file"]
        return sorted({x.real for x in files if x.real and x.content is None and x.script is not False})

    def _item(self, path: str, item: Item) -> None:
        self.items[path] = item
        folder, _, name = path.rpartition("/")
        if folder in self.listed and name not in self.listed[folder]:
            self.listed[folder].append(name)

    def _again(self, path: str, real: str) -> None:
        """A folder that is listed already, by another name."""
        first = next((p for p in self.listed if self.items[p].real == real), "")
        if not first:
            raise ValueError(f"no folder that is {path}, too")
        self.listed[path] = self.listed[first]
        self.untold |= {path for p in self.untold if p == first}
        for name in self.listed[first]:
            self.items[f"{path}/{name}"] = self.items[f"{first}/{name}"]

    def _leads(self, paths: Sequence[str], reals: Sequence[str]) -> None:
        known = [path for path in paths if path in self.items]
        if len(paths) != len(reals) or len(known) != len(paths):  # one of them has several lines
            self.untold |= {path.rpartition("/")[0] for path in known}
            return
        for path, real in zip(paths, reals, strict=True):
            self.items[path] = replace(self.items[path], real=real)

    def _holds(self, paths: Sequence[str], sizes: Sequence[str], content: bytes, limit: int) -> None:
        lengths = [min(int(size), limit) for size in sizes if size.isdigit()]
        if len(lengths) != len(paths) or sum(lengths) != len(content):  # one was written to meanwhile: they are asked singly
            return
        at = 0
        for path, size, length in zip(paths, sizes, lengths, strict=True):
            told, at = content[at : at + length], at + length
            if item := self.items.get(path):
                script = told.startswith(b"#!")
                known = replace(item, script=script) if limit == _BEGINNING else replace(item, content=told, script=script)
                self.items[path] = replace(known, whole=int(size) < limit)


def _halves(told: bytes) -> tuple[list[str], list[str]]:
    """The lines of an answer about several paths: these, and one for each."""
    lines = told.decode(errors="backslashreplace").split("\n")[:-1]
    return lines[: len(lines) // 2], lines[len(lines) // 2 :]


def _parts(piece: bytes) -> tuple[str, str, str, bytes]:
    lines = piece.split(b"\n", 3)
    if len(lines) != 4:
        raise ValueError("a line that is cut off")
    head, path, real = (line.decode(errors="backslashreplace") for line in lines[:3])
    if wrong := [p for p in (path, real or "/") if not p.startswith("/")]:
        raise ValueError(f"no path: {wrong[0][:40]!r}")
    return head, path, real, lines[3]


def look(
    files: Iterable[str] = (), scripts: Sequence[str] = (), folders: Iterable[tuple[str, int]] = (), largest: int = BATCH
) -> str:
    """The script that looks at these: files, others of which only is told whether they are scripts, and folders with how deep."""
    lines = _many(scripts, _BEGINNING)
    lines += [f"one {shlex.quote(path)} {largest + 1}" for path in files]
    lines += [f"walk {shlex.quote(path)} {depth} {largest + 1} {_MOST}" for path, depth in folders]
    return _LOOK + "\n".join([*lines, "true"])


def many(files: Sequence[str]) -> str:
    """The script that has the contents of many files come."""
    return _LOOK + "\n".join([*_many(files, BATCH + 1), "true"])


def _many(paths: Sequence[str], limit: int) -> list[str]:
    return [f"many {limit} {shlex.join(paths[n : n + _TOGETHER])}" for n in range(0, len(paths), _TOGETHER)]


def marks(paths: Sequence[str]) -> str:
    """The script that asks by what numbers files and devices are known."""
    return _MARKS + "\n".join(f"mark {n} {shlex.quote(path)}" for n, path in enumerate(paths))


def marked(answer: str, count: int) -> list[set[str]]:
    """What the answer to `marks` says of each path; `ValueError` for what is none."""
    found: list[set[str]] = []
    for n, line in enumerate(answer.splitlines()):
        told = re.fullmatch(r"(\d+)\|(?:([^|]*)\|(\d+:\d+)\|([0-9a-f]+:[0-9a-f]+))?\|(\d+:\d+)?", line)
        if told is None or int(told[1]) != n:
            raise ValueError(f"no answer about a disk: {line[:80]}")
        device = {f"device {told[4]}"} if (told[2] or "").startswith("block") else set()
        found.append({f"file {x}" for x in (told[3], told[5]) if x} | device)
    if len(found) != count:
        raise ValueError(f"{len(found)} answers about {count} disks")
    return found
