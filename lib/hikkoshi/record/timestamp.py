"""Time stamps (RFC 3161): a third party says that a signature was there at a certain time. Everything by `openssl ts`."""

import http.client
import re
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

from hikkoshi import files, tool
from hikkoshi.approval import limits
from hikkoshi.errors import Problem, ToolFailed
from hikkoshi.secret import temporary

TIMEOUT = 10  # seconds for the service to answer


def path_of(signature: Path) -> Path:
    """Where the token over a signature is."""
    return signature.with_name(signature.name + ".tsr")


def stamp(signature: Path, service: str, ca: Path) -> datetime:
    """Have a signature stamped, check the token at once, and put it beside; the time it tells. `ToolFailed`: no token."""
    with temporary.folder("stamp") as private:
        query, reply = private / "query.tsq", private / "reply.tsr"
        tool.run(["openssl", "ts", "-query", "-data", signature, "-sha256", "-cert", "-out", query], timeout=60)
        request = urllib.request.Request(
            service, query.read_bytes(), {"Content-Type": "application/timestamp-query"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                reply.write_bytes(_read(answer))
        except (OSError, ValueError, http.client.HTTPException) as e:
            found = str(e.reason) if isinstance(e, urllib.error.URLError) else str(e)
            remedy = "the record is sealed all the same; see whether the service is up"
            raise ToolFailed(
                Problem(
                    code="time-stamp-unreachable",
                    what="the time stamp service does not answer",
                    where=service,
                    found=found,
                    remedy=remedy,
                )
            ) from None
        told = _verified(reply, ["-queryfile", query], ca)
        files.write(path_of(signature), reply.read_bytes())
    return told


def verify(signature: Path, ca: Path) -> datetime:
    """The time in the token beside a signature; `ToolFailed` where it does not fit."""
    if (size := path_of(signature).stat().st_size) > limits.TOKEN:
        raise ToolFailed(
            Problem(
                code="time-stamp-malformed", what="this is no time stamp", where=str(path_of(signature)), found=files.human(size)
            )
        )
    return _verified(path_of(signature), ["-data", signature], ca)


def _read(answer: http.client.HTTPResponse) -> bytes:
    """The whole answer, in `TIMEOUT` as a whole: others wait for their seals meanwhile."""
    end, content = time.monotonic() + TIMEOUT, b""
    while block := answer.read1(limits.TOKEN):
        content += block
        if time.monotonic() > end or len(content) > limits.TOKEN:
            raise TimeoutError(f"no end of its answer after {TIMEOUT} s or {limits.TOKEN} bytes")
    return content


def _verified(reply: Path, over: list[str | Path], ca: Path) -> datetime:
    """The certificates are judged as of the time in the token: they have run out when an auditor looks years later."""
    told = tool.run(["openssl", "ts", "-reply", "-in", reply, "-text"], timeout=60).stdout
    found = re.search(r"^Time stamp: (\w{3}) +(\d+) (\d\d:\d\d:\d\d)(?:\.\d+)? (\d{4}) GMT$", told, re.M)
    if found is None:
        status = re.search(r"^Status: .*$", told, re.M)
        remedy = "see the service's own log"
        raise ToolFailed(
            Problem(
                code="time-stamp-refused",
                what="the time stamp service gave no time",
                found=status[0] if status else "",
                remedy=remedy,
            )
        )
    then = datetime.strptime(" ".join(found.groups()), "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    at = str(int(then.timestamp()))
    tool.run(["openssl", "ts", "-verify", "-in", reply, *over, "-CAfile", ca, "-attime", at], timeout=60)
    return then
