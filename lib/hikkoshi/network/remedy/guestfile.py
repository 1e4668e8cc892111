"""Files of a running guest, read and written byte for byte by its own shell.

What is written comes beside the old file first and takes its name at once. What was there is kept: below /.pre-migration
under its own path, with a number behind where something is kept there already.
"""

import shlex
from collections.abc import Iterable, Sequence

from hikkoshi.network.host import Host

KEPT = "/.pre-migration"  # as of the files that a preparation changed (hikkoshi.guest.edits)
_PRINTABLE = frozenset(range(0x20, 0x7F)) - set(b"%\\'-")  # a format that begins with a hyphen is an option


def read(host: Host, paths: Iterable[str]) -> dict[str, bytes | None]:
    """{path: content}; None where there is no such file."""
    names = " ".join(map(shlex.quote, paths))
    said = host.script(f'for f in {names}; do echo "=$f"; [ -f "$f" ] && {{ echo .; od -An -v -tx1 "$f"; }}; done; :\n')
    found: dict[str, bytes | None] = {}
    for piece in ("\n" + said).split("\n=")[1:]:
        path, _, rest = piece.partition("\n")
        found[path] = bytes.fromhex(rest[1:]) if rest.startswith(".") else None
    return found


def write(host: Host, path: str, content: bytes, mode: str = "") -> str:
    """Give a file this content; says where the old one is kept, empty where there was none.

    A file that is there keeps its mode and owner; a new one gets `mode`, by default 0644.
    """
    said = host.script(
        f"""set -e
umask 022
p={shlex.quote(path)}
[ -h "$p" ] && p=$(readlink -f "$p")
n=$(dirname "$p")/.$(basename "$p").new
trap 'rm -f "$n"' 0
if [ -e "$p" ]; then
    k={KEPT}$p
    i=0
    while [ -e "$k" ]; do i=$((i + 1)); k={KEPT}$p.$i; done
    (umask 077; mkdir -p "$(dirname "$k")")
    cp -p "$p" "$k"
    cp -p "$p" "$n"
else
    mkdir -p "$(dirname "$p")"
    : >"$n"
    chmod {mode or "0644"} "$n"
    k=
fi
printf '{"".join(map(_escaped, content))}' >"$n"
sync
mv -f "$n" "$p"
if command -v restorecon >/dev/null 2>&1; then restorecon "$p" >/dev/null 2>&1 || :; fi
echo "$k"
"""
    )
    return said.strip()


def remove(host: Host, paths: Sequence[str]) -> None:
    """Take files away; those that are not there are no error."""
    host.script("rm -f -- " + " ".join(map(shlex.quote, paths)) if paths else ":")


def _escaped(byte: int) -> str:
    """A byte in the format of printf(1), within single quotes."""
    return chr(byte) if byte in _PRINTABLE else f"\\{byte:03o}"
