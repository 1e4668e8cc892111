"""What a command line of netperf says of the output that it gave: the unit, the test, whether a confidence was asked for."""

import getopt
import shlex
from dataclasses import dataclass
from pathlib import PurePath

from hikkoshi.errors import BadInput, Problem
from hikkoshi.network.throughput.netperf_forms import RR, TCP, UDP
from hikkoshi.network.throughput.units import LETTERS

OPTIONS = "A:a:b:B:CcdD:f:F:H:hi:I:jk:K:l:L:n:NO:o:P:p:rSs:t:T:v:VW:w:y:Y:Z:46"  # netperf's own, those before --


@dataclass(frozen=True)
class Command:
    """What was said. Nothing is known where there is no `line`."""

    line: str = ""
    letter: str = ""  # of -f
    test: str = ""  # empty also for omni, which is of any kind
    confidence: bool | None = None

    def unit(self, *, transactions: bool) -> str:
        """The unit in which such a command prints, for a test that counts transactions or one that does not.

        Without -f a whole command line means netperf's default. Empty where versions differ: until 2.4 a test of
        transactions took no notice of -f, until 2.6 -f B printed KBytes, and -f b is wrong in 2.7.
        """
        if transactions:
            return LETTERS["x"] if self.letter == "x" or (self.test and not self.letter) else ""
        letter = self.letter or ("m" if self.test else "")
        return LETTERS[letter] if letter in ("k", "m", "g", "K", "M", "G") else ""


def read(command: str, where: str = "") -> Command:
    """What a command line says, or the letter of -f alone; nothing for an empty one. `BadInput` for what is neither."""
    if not command:
        return Command()
    if command in LETTERS:
        return Command(letter=command)
    try:
        words = shlex.split(command)
        names = [PurePath(w).name for w in words]
        options = dict(getopt.gnu_getopt(words[names.index("netperf") + 1 :], OPTIONS)[0])
    except (ValueError, getopt.GetoptError) as e:
        raise BadInput(_problem(command, where, str(e))) from None
    letter, test = options.get("-f", ""), options.get("-t", "TCP_STREAM").upper()
    if letter and letter not in LETTERS:
        raise BadInput(_problem(command, where, f"-f {letter}"))
    if test not in (*TCP, *UDP, *RR, "OMNI"):
        raise BadInput(_problem(command, where, f"-t {test}"))
    return Command(command, letter, "" if test == "OMNI" else test, "-I" in options or "-i" in options)


def _problem(command: str, where: str, found: str) -> Problem:
    return Problem(
        code="netperf-command-malformed",
        what="this is neither a command line of netperf nor a letter of its -f",
        where=where or command,
        found=found,
        expected=f"netperf …, or one of {', '.join(LETTERS)}",
        remedy="give the command as it was typed, or the letter alone",
    )
