"""Pieces of a disk as the sh of a Dom-0 is asked for them, and what it answers.

One question is about several. Of each that is zeros, or that is here already, a line tells so, until one has to come: that is
packed by gzip, or as it is where that is faster, and ends the answer. What it says is read twice there, once for the SHA-256
and once to be sent, the second time from its page cache. Where only is asked whether they are as they are here, none comes.
"""

import hashlib
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from isal import igzip_lib

from hikkoshi.disk.pieces import of_zeros

_MIB = 1 << 20
# openssl is up to seven times as quick, and says `SHA2-256(stdin)= …`, or earlier the sum alone;
# cmp reads no further than the first byte that is none; where there is no such cmp, SHA-256 finds the zeros
_SCRIPT = """\
p={path}
part() {{ dd if="$p" bs=1048576 skip=$(($1*{mib})) count=$(($2*{mib})) 2>/dev/null; }}
sum() {{ if command -v openssl >/dev/null; then nice openssl dgst -sha256; else nice sha256sum; fi; }}
empty() {{ part $1 $2 | nice cmp -s -n $3 - /dev/zero 2>/dev/null; }}
if test {zeros} = yes && empty {first} {count} {length}; then printf '\\n%s zeros %s %s\\n' $m {first} {count}; exit 0; fi
for x in {asked}; do
  n=${{x%:*}}; k=${{x#*:}}; z={zero}; l={piece}
  test $n -lt {end} || {{ z={last}; l={rest}; }}
  if {{ test $k = - || test $k = $z; }} && empty $n 1 $l; then h=$z
  else h=`part $n 1 | sum`; h=${{h##*= }}; h=${{h%% *}}; fi
  if test "$h" = $k; then printf '\\n%s same %s 1\\n' $m $n
  elif test "$h" = $z; then printf '\\n%s zeros %s 1\\n' $m $n
  elif test {comes} = no; then printf '\\n%s other %s 1\\n' $m $n
  else
    printf '\\n%s piece %s %s\\n' $m $n "$h"
    dd if="$p" bs=1048576 skip=$((n*{mib})) count={mib}{packer}
    printf '\\n%s end\\n' $m
    exit 0
  fi
done
"""


class Damaged(Exception):
    """What arrived is not what was hashed there."""


@dataclass(frozen=True)
class Question:
    """(number, SHA-256) of each piece that is asked for; '' for one that is not here. Where none `comes`, it is compared."""

    pieces: tuple[tuple[int, str], ...]
    comes: bool = True
    packed: bool = True

    def after(self, count: int) -> "Question | None":
        """Without the first ones; None where nothing is left."""
        return replace(self, pieces=self.pieces[count:]) if count < len(self.pieces) else None


@dataclass(frozen=True)
class Told:
    """What is known of one piece now. `content` is of one that came; without it, it is zeros, or as it is here, or another."""

    n: int
    kind: Literal["zeros", "same", "other", "piece"]
    sha256: str = ""
    content: bytes | None = None


def questions(digests: Sequence[str], wanted: Sequence[int], longest: int, *, comes: bool = True) -> Iterator[Question]:
    """The wanted pieces, in questions about those that follow each other."""
    asked: list[tuple[int, str]] = []
    for n in wanted:
        if asked and (len(asked) == longest or n != asked[-1][0] + 1):
            yield Question(tuple(asked), comes)
            asked = []
        asked.append((n, digests[n]))
    if asked:
        yield Question(tuple(asked), comes)


def script(path: str, question: Question, size: int, piece: int) -> str:
    """The question about these pieces of a disk of `size` bytes."""
    asked, rest = question.pieces, size % piece
    (first, _), (last, _) = asked[0], asked[-1]
    zeros = all(sha256 in ("", of_zeros(_length(size, piece, n))) for n, sha256 in asked)
    return _SCRIPT.format(
        path=shlex.quote(path),
        zeros="yes" if zeros and 1 < len(asked) == last - first + 1 else "no",
        first=first,
        count=len(asked),
        length=min(size, (last + 1) * piece) - first * piece,
        asked=" ".join(f"{n}:{sha256 or '-'}" for n, sha256 in asked),
        mib=piece // _MIB,
        piece=piece,
        end=size // piece,
        rest=rest,
        zero=of_zeros(piece),
        last=of_zeros(rest),
        comes="yes" if question.comes else "no",
        packer=" | nice gzip -1" if question.packed else "",
    )


def told(answer: bytes, mark: str, question: Question, size: int, piece: int) -> list[Told]:
    """What an answer says of the first pieces of a question, at least one; `Damaged` for anything else."""
    found: list[Told] = []
    length = partial(_length, size, piece)
    lines = re.compile(rb"\n%s (?:(zeros|same|other) (\d{1,9}) (\d{1,9})|piece (\d{1,9}) ([0-9a-f]{64}))\n" % mark.encode())
    at = 0
    while at < len(answer):
        line, asked = lines.match(answer, at), question.pieces[len(found) :]
        if line is None or not asked or int(line[2] or line[4]) != asked[0][0]:
            raise Damaged(f"no answer about piece {asked[0][0]}" if asked else "more than was asked for")
        at, (n, known) = line.end(), asked[0]
        if line[4]:
            end = b"\n%s end\n" % mark.encode()
            if not question.comes or not answer.endswith(end):
                raise Damaged(f"piece {n} has no end")
            content = _content(memoryview(answer)[at : -len(end)], length(n), packed=question.packed)
            if (sha256 := hashlib.sha256(content).hexdigest()) != line[5].decode():
                raise Damaged(f"SHA-256 of piece {n} there {line[5].decode()[:16]}…, of what arrived {sha256[:16]}…")
            return [*found, Told(n, "piece", sha256, content)]
        kind, count = line[1].decode(), int(line[3])
        if count != 1 and (kind != "zeros" or count != len(asked)):
            raise Damaged(f"an answer about {count} pieces")
        if kind == "zeros":
            found += [Told(x, "zeros", of_zeros(length(x))) for x, _ in asked[:count]]
        elif (kind == "same" and known) or (kind == "other" and not question.comes):
            found.append(Told(n, "same", known) if kind == "same" else Told(n, "other"))
        else:
            raise Damaged(f"piece {n} is {kind}")
    if not found:
        raise Damaged("an answer about nothing")
    return found


def _length(size: int, piece: int, n: int) -> int:
    return min(piece, size - n * piece)


def _content(came: memoryview, length: int, *, packed: bool) -> bytes:
    """A piece of this length. Of what is packed, what would fill the memory is not unpacked."""
    try:
        unpacker = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        content = unpacker.decompress(came, length + 1) if packed else bytes(came)
    except igzip_lib.IsalError as e:  # type: ignore[misc]
        raise Damaged(f"what arrived cannot be unpacked: {e}") from None
    if len(content) != length:
        raise Damaged(f"{len(content):,} bytes where {length:,} were expected")
    return content
