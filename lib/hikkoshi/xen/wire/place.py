"""One disk of a Dom-0 over ssh, by its address: how it stands there, asked now."""

import re
import shlex
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

from hikkoshi.disk import standing
from hikkoshi.disk.remote import address, lacking
from hikkoshi.disk.source import SECTOR
from hikkoshi.disk.standing import Standing
from hikkoshi.errors import BadInput, Problem, ToolFailed, printable
from hikkoshi.params.site import Dom0
from hikkoshi.ssh import Login
from hikkoshi.xen.reach.connection import Connection, connection
from hikkoshi.xen.reach.host import PATIENCE

# 3 and 4 are SEEK_DATA and SEEK_HOLE, 6 is ENXIO: nothing but a hole from here on
_DATA = """\
open(F, "<", $ARGV[0]) or exit 1; $e = -s F; $a = 0; $l = -1;
while ($a < $e) {
  $d = sysseek(F, $a, 3);
  if (!defined $d) { exit 1 if $! + 0 != 6; last }
  $a = sysseek(F, $d, 4) or exit 1;
  $f = int($d / $ARGV[1]); $f = $l + 1 if $f <= $l; $t = int(($a - 1) / $ARGV[1]);
  next if $t < $f;
  print "\\@data $f $t\\n"; $l = $t
}
print "\\@whole $e\\n";
"""


@dataclass(frozen=True)
class DiskPlace:
    """Where a disk really is; `url` as `hikkoshi.disk.remote.address` reads it."""

    url: str
    path: str
    login: Login

    @classmethod
    def of(cls, url: str) -> Self:
        """That of an address."""
        login, path = address(url)
        return cls(url, path, login)

    @property
    def connection(self) -> Connection:
        """The way there."""
        return connection(self.login)

    def standing(self) -> Standing:
        """How it stands now. `BadInput` for what is no disk, `ToolFailed` where the Dom-0 gives no answer."""
        answer = self.connection.ask(standing.script(self.path), named=["stat", self.path], timeout=PATIENCE).out.decode(
            errors="replace"
        )
        try:
            found = standing.told(answer)
        except ValueError as e:
            raise not_understood(self.login, self.url, printable(str(e)), "its size, and how it stands") from None
        if isinstance(found, str):
            raise self._none(found)
        if found.bytes == 0 or found.bytes % SECTOR:
            raise BadInput(
                Problem(
                    code="disk-cut-off",
                    what="the disk is empty or cut off",
                    where=self.url,
                    found=f"{found.bytes:,} bytes",
                    expected="whole sectors of 512 bytes",
                    remedy="see whether the guest's Xen configuration names the right disk",
                )
            )
        return found

    def data(self, standing: Standing, piece: int) -> set[int] | None:
        """Which pieces of a file hold something, as its file system knows; None where nobody tells, and for a device.

        Linux tells it since 3.1 (lseek(2), SEEK_DATA), and what asks for it there is perl, which nearly every Dom-0 has.
        """
        if standing.device:
            return None
        text = f"perl -e {shlex.quote(_DATA)} {shlex.quote(self.path)} {piece} </dev/null 2>/dev/null"
        answer = self.connection.ask(text, named=["perl", self.path], timeout=PATIENCE).out.decode(errors="replace")
        *ranges, last = answer.splitlines() or [""]
        found = [re.fullmatch(r"@data (\d{1,9}) (\d{1,9})", line) for line in ranges]
        if last != f"@whole {standing.bytes}" or not all(found):
            return None
        most = standing.bytes // piece
        return {n for m in found if m for n in range(int(m[1]), min(int(m[2]), most) + 1)}

    def _none(self, why: str) -> ToolFailed | BadInput:
        if why.startswith("lacks "):
            return lacking(self.login.host, why[6:], "sh, coreutils and gzip")
        return BadInput(
            Problem(
                code="disk-unreadable",
                what="the disk cannot be read",
                where=self.url,
                found=printable(why),
                expected="a raw disk image or a block device",
                remedy="see whether the path is right, and whether this user may read it there",
            )
        )


def not_understood(login: Login, where: str, found: str, expected: str) -> ToolFailed:
    """The error for a Dom-0 that answers something else about its disks."""
    return ToolFailed(
        Problem(
            code="dom0-answer-unknown",
            what="the Dom-0's answer about the disk is not understood",
            where=where,
            found=found,
            expected=expected,
            remedy=f"see what `{login.by_hand}` prints: something answers in its place",
        )
    )


def url(dom0: Dom0, path: str) -> str:
    """The address of a path of a Dom-0 over ssh."""
    return f"ssh://{dom0.ssh}{quote(path)}"
