"""One disk of a Dom-0 over ssh, by its address: how it stands there, asked now."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

from hikkoshi.disk import standing
from hikkoshi.disk.remote import address
from hikkoshi.disk.source import SECTOR
from hikkoshi.disk.standing import Standing
from hikkoshi.errors import BadInput, Problem, ToolFailed, printable
from hikkoshi.params.site import Dom0
from hikkoshi.ssh import Login
from hikkoshi.xen.reach.connection import Connection, connection
from hikkoshi.xen.reach.host import PATIENCE


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
            raise ToolFailed(
                Problem(
                    code="dom0-answer-unknown",
                    what="the Dom-0's answer about the disk is not understood",
                    where=self.url,
                    found=printable(str(e)),
                    expected="its size, and how it stands",
                    remedy=f"see what `{self.login.by_hand}` prints: something answers in its place",
                )
            ) from None
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

    def _none(self, why: str) -> ToolFailed | BadInput:
        if why.startswith("lacks "):
            return ToolFailed(
                Problem(
                    code="dom0-lacks-program",
                    what="the Dom-0 lacks a program",
                    where=self.login.host,
                    found=why[6:],
                    expected="sh, coreutils and gzip",
                    remedy="install it there",
                )
            )
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


def url(dom0: Dom0, path: str) -> str:
    """The address of a path of a Dom-0 over ssh."""
    return f"ssh://{dom0.ssh}{quote(path)}"
