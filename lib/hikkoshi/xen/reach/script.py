"""Questions to a Dom-0 as scripts for its sh, with what coreutils 5.97 and Linux 2.6.18 have; and what their answers say."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

BATCH = 1 << 18  # bytes of each file that come in a batch: a configuration has a few hundred
_MOST = 2000  # files of one folder

# Of each path: a line with its kind, and whether its content comes; the path; where its links lead; the content, and a line with
# the status of what read it. A path with a line's end in it cannot be told: its folder is called odd.
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
  h=no
  case $k$3 in
  filescript) h=yes; test "`head -c 2 "$1" 2>/dev/null | tr -d '\\000'`" = '#!' || h=other;;
  file*) h=yes;;
  esac
  printf '\\n%s %s %s\\n%s\\n%s\\n' $m $k $h "$1" "$2"
  test $h != yes || { head -c $4 < "$1"; printf '\\n%s end %s\\n' $m $?; }
}
one() { item "$1" "`readlink -f "$1"`" $2 $3; }
walk() {
  r=`readlink -f "$1"`
  item "$1" "$r" whole $3
  test $k = folder || return
  printf '\\n%s listed no\\n%s\\n\\n' $m "$1"
  c=0
  for x in "$1"/*; do
    test -e "$x" || test -h "$x" || continue
    c=$((c+1))
    test $c -le $4 || { printf '\\n%s crowded no\\n%s\\n\\n' $m "$1"; break; }
    if test -d "$x" && test $2 -gt 0; then ( walk "$x" $(($2-1)) $3 $4 )
    elif test -h "$x"; then one "$x" whole $3
    else item "$x" "$r/${x##*/}" whole $3; fi
  done
}
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
            elif kind in ("odd", "crowded"):
                self.untold.add(path)
            elif kind in _KINDS:
                told: bytes | None = None
                if comes == "yes":
                    end = re.fullmatch(rb"end (\d+)\n", next(at, b""))
                    if end is None:
                        raise ValueError(f"no end of {path}")
                    told, kind = rest, kind if end[1] == b"0" else "denied"
                elif rest:
                    raise ValueError(f"a content that {path} has not")
                script = False if comes == "other" else None if told is None else told.startswith(b"#!")
                content = None if told is None else told[: largest + 1]
                self.items[path] = Item(kind, real, content, len(told or b"") <= largest, script)
                folder, _, name = path.rpartition("/")
                if folder in self.listed and name not in self.listed[folder]:
                    self.listed[folder].append(name)
            else:
                raise ValueError(f"a path that is {kind[:40]!r}")


def _parts(piece: bytes) -> tuple[str, str, str, bytes]:
    lines = piece.split(b"\n", 3)
    if len(lines) != 4:
        raise ValueError("a line that is cut off")
    head, path, real = (line.decode(errors="backslashreplace") for line in lines[:3])
    if wrong := [p for p in (path, real or "/") if not p.startswith("/")]:
        raise ValueError(f"no path: {wrong[0][:40]!r}")
    return head, path, real, lines[3]


def look(
    files: Iterable[str] = (), scripts: Iterable[str] = (), folders: Iterable[tuple[str, int]] = (), largest: int = BATCH
) -> str:
    """The script that looks at these: files, those of them that are scripts, and folders with how deep."""
    lines = [f"one {shlex.quote(path)} whole {largest + 1}" for path in files]
    lines += [f"one {shlex.quote(path)} script {largest + 1}" for path in scripts]
    lines += [f"walk {shlex.quote(path)} {depth} {largest + 1} {_MOST}" for path, depth in folders]
    return _LOOK + "\n".join([*lines, "true"])


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
