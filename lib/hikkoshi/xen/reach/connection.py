"""One connection to a Dom-0 by the OpenSSH client, shared by all that a process asks there.

A question is a script for the sh there. It begins only once all of it has arrived, and its answer stands between two marks that
nobody can guess: what a login shell prints before is not taken for an answer, nor is one that is cut off. Nothing stays there,
neither when its time is over nor when we die: the other side ends what it runs when this side goes. A host key that is not known
is always refused, whatever ssh_config(5) says.
"""

import atexit
import re
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from hikkoshi import tool
from hikkoshi.errors import Problem, ToolFailed, printable
from hikkoshi.secret import temporary
from hikkoshi.ssh import FAILED, STRICT, Login
from hikkoshi.xen.reach.host import PRINTED
from hikkoshi.xen.reach.local import endless

PERSIST = 15  # seconds that the connection stays when nobody asks: so long it is there, too, after we were killed
_LONGEST_PLACE = 50  # bytes of the path of the folder for temporary files: a socket's has 107 at most, and ssh needs 17 of them
# The whole is one function: of a script that is cut off nothing is run. Each watcher ends the whole process group, and its trap
# its own program, so that nothing stays. `$!` in it is that program, or one that has ended already.
_WRAPPED = """\
f() {{
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; LC_ALL=C; export PATH LC_ALL
m={mark}
nl='
'
exec 3<&0
{before}
( exec 3<&- </dev/null; printf '\\n%s begin\\n' $m
{script}
) & p=$!
{watchers}
wait $p; s=$?
kill $w 2>/dev/null; wait $w 2>/dev/null
printf '\\n%s done %s\\n' $m $s
exit 0
}}
f
"""
_WATCHER = "( trap 'kill -9 $! 2>/dev/null; exit 0' TERM; {} & wait $!; kill -9 0 ) >/dev/null 2>&1 & w=\"$w $!\"\n"


class Dom0Unreached(ToolFailed):
    """No shell of the Dom-0 could be asked at all."""


@dataclass(frozen=True)
class Answer:
    """What a script printed there, and the status that it ended with."""

    status: int
    out: bytes
    mark: str  # that stands in nothing but what the script itself put it into
    err: str  # its last words, as they may be shown


class Connection:
    """The way to one Dom-0, which all that this process asks there takes."""

    def __init__(self, login: Login, socket: Path) -> None:
        self.login, self.host = login, login.host
        self.toolstack = ""  # of Xen there, once somebody has asked
        self._own = ("ControlMaster=auto", f"ControlPath={socket}", f"ControlPersist={PERSIST}", STRICT)

    def ask(self, script: str, *, named: Sequence[str], timeout: float, acts: bool = False, largest: int = PRINTED) -> Answer:
        """Have a script run there, which errors call by the words `named`; `ToolFailed` where no whole answer comes.

        See `Dom0Host.run` for `acts`.
        """
        mark = f"hikkoshi-{secrets.token_hex(12)}"
        watched = [f"sleep {int(timeout) + 5} 3<&-", *([] if acts else ["cat <&3"])]
        whole = _WRAPPED.format(
            mark=mark,
            before="trap '' PIPE HUP" if acts else "",  # of what acts, nobody watches whether we are still there
            script=script,
            watchers="".join(map(_WATCHER.format, watched)),
        )
        end = re.compile(rb"\n%s done (\d{1,3})\n" % mark.encode())
        said = tool.converse(
            [*self.login.argv(*self._own), "exec sh"], whole.encode(), until=end, timeout=timeout, largest=largest
        )
        head, begun, rest = said.out.partition(b"\n%s begin\n" % mark.encode())
        found = end.match(rest, max(0, rest.rfind(b"\n%s done " % mark.encode())))
        if not begun:
            raise self._unreached(said, head, timeout)
        if found is None:
            raise self._broken(said, named, timeout)
        return Answer(int(found[1]), rest[: found.start()], mark, _words(said.err))

    def close(self) -> None:
        """End the connection, if it is there."""
        with suppress(ToolFailed):
            tool.run(self.login.asking("exit", *self._own), timeout=10, ok=range(256))

    def _unreached(self, said: tool.Said, head: bytes, timeout: float) -> Dom0Unreached:
        """The error where no script was begun."""
        words = _words(said.err)
        if said.status == FAILED or said.ending == "slow":
            return Dom0Unreached(self.login.unreached(f"{words}\nno answer in {timeout:g} s" if said.ending == "slow" else words))
        return Dom0Unreached(
            Problem(
                code="dom0-without-shell",
                what="on the Dom-0 no shell answers",
                where=self.host,
                found=tool.tail(words or _words(head[-1000:]), 3),
                expected="sh, by a login shell that starts it",
                remedy=f"see what `{self.login.by_hand}` prints here; the user's login shell there has to run commands",
            )
        )

    def _broken(self, said: tool.Said, named: Sequence[str], timeout: float) -> ToolFailed:
        """The error where a script was begun, and its end did not come."""
        if said.ending == "slow":
            return tool.timed_out(named, timeout, self.host)
        if said.ending == "endless":
            return endless(named, self.host)
        return ToolFailed(
            Problem(
                code="dom0-answer-cut-off",
                what="the Dom-0's answer is cut off",
                where=self.host,
                found="; ".join(filter(None, [f"{len(said.out):,} bytes, without their end", _words(said.err)[-300:]])),
                expected="a whole answer",
                remedy="see whether the network and the Dom-0 are well, then run this again; nothing of the answer is used",
            )
        )


_open: dict[Login, Connection] = {}
_stack = ExitStack()


def connection(login: Login) -> Connection:
    """This process' connection to a Dom-0. It ends with the process, or `PERSIST` seconds after that was killed."""
    if login not in _open:
        place = Path(tempfile.gettempdir())
        folder = temporary.folder("ssh", place if len(str(place)) <= _LONGEST_PLACE else Path("/tmp"))
        _open[login] = Connection(login, _stack.enter_context(folder) / "s")
    return _open[login]


@atexit.register
def close() -> None:
    """End all connections."""
    while _open:
        _open.popitem()[1].close()
    _stack.close()


def _words(raw: bytes) -> str:
    return printable(raw.decode(errors="replace").replace("\r\n", "\n")).strip()  # so ssh ends its lines
