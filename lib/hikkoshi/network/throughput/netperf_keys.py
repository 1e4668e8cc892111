"""The forms of netperf's output that name every figure: KEY=VALUE lines (`-k`) and a table in CSV (`-o`), from 2.5 on."""

import csv
import re
from collections.abc import Mapping

from hikkoshi.network.throughput.netperf_forms import LONGEST, TCP, UDP, Figures
from hikkoshi.network.throughput.units import LETTERS

DIRECTIONS: Mapping[tuple[str, str], str] = {  # {(PROTOCOL, DIRECTION): the test}
    ("TCP", "Send"): "TCP_STREAM",
    ("TCP", "Receive"): "TCP_MAERTS",
    ("TCP", "Send|Recv"): "TCP_RR",
    ("TCP", "Connect|Send|Recv"): "TCP_CRR",
    ("UDP", "Send"): "UDP_STREAM",
    ("UDP", "Send|Recv"): "UDP_RR",
}
OTHER = {"LOCAL": "REMOTE", "REMOTE": "LOCAL"}
FIGURES: Mapping[str, str] = {  # {key: how it is printed}
    "THROUGHPUT": r"\d+\.\d\d",
    "ELAPSED_TIME": r"\d+\.\d\d",
    "LOCAL_SEND_THROUGHPUT": r"\d+\.\d\d",
    "LOCAL_RECV_THROUGHPUT": r"\d+\.\d\d",
    "REMOTE_RECV_THROUGHPUT": r"\d+\.\d\d",
    "TRANSACTION_RATE": r"\d+\.\d{3}",
    "LOCAL_TRANSPORT_RETRANS": r"-1|\d+",
    "REMOTE_TRANSPORT_RETRANS": r"-1|\d+",
    "LOCAL_BYTES_RECVD": r"\d+",
    "REMOTE_BYTES_RECVD": r"\d+",
    "CONFIDENCE_INTERVAL": r"-?\d+\.\d+",
    "CONFIDENCE_ITERATION": r"\d+",
    "THROUGHPUT_CONFID": r"-?\d+\.\d+",
}
COLUMNS: Mapping[str, str] = {  # {column of -o: key of -k}; the others keep their names
    "Throughput": "THROUGHPUT",
    "Throughput Units": "THROUGHPUT_UNITS",
    "Elapsed Time (sec)": "ELAPSED_TIME",
    "Protocol": "PROTOCOL",
    "Direction": "DIRECTION",
    "Confidence Width Target": "CONFIDENCE_INTERVAL",
    "Confidence Iterations Run": "CONFIDENCE_ITERATION",
    "Throughput Confidence Width (%)": "THROUGHPUT_CONFID",
    "Local Transport Retransmissions": "LOCAL_TRANSPORT_RETRANS",
    "Remote Transport Retransmissions": "REMOTE_TRANSPORT_RETRANS",
    "Transport MSS bytes": "TRANSPORT_MSS",
    "Local Send Throughput": "LOCAL_SEND_THROUGHPUT",
    "Local Recv Throughput": "LOCAL_RECV_THROUGHPUT",
    "Remote Recv Throughput": "REMOTE_RECV_THROUGHPUT",
    "Local Bytes Received": "LOCAL_BYTES_RECVD",
    "Remote Bytes Received": "REMOTE_BYTES_RECVD",
    "Transaction Rate Tran/s": "TRANSACTION_RATE",
    "Local Congestion Control Algorithm": "LOCAL_CONG_CONTROL",
    "Test UUID": "UUID",
    "Command Line": "COMMAND_LINE",
}
_LINE = re.compile(r"([A-Z][A-Z0-9_]*(?:\[\d+\])?)=(.*)")
_TABLE = re.compile(r"(?:[^\n,]*,)*Throughput[,\n]")
_INTERIM = ("NETPERF_INTERIM_RESULT", "NETPERF_UNITS", "NETPERF_INTERVAL", "NETPERF_ENDING")


def figures(text: str, test: str = "") -> Figures | None:
    """The figures that lines of KEY=VALUE or a table in CSV name; None where it is neither, `ValueError` where it is damaged.

    `test` is what else is known of the kind of test.
    """
    lines = text.rstrip("\n").split("\n")
    if _LINE.match(text):
        told = _pairs(lines)
    elif _TABLE.match(text):
        told = _table(lines)
    else:
        return None
    named = dict(told)
    if len(named) < len(told):
        raise ValueError("a key is there twice: it is of more than one run")
    for key in sorted(named.keys() & FIGURES.keys()):
        if len(named[key]) > LONGEST or not re.fullmatch(FIGURES[key], named[key], re.ASCII):
            raise ValueError(f"{key} is no figure", repr(named[key]))
    asked = named.get("COMMAND_LINE", "")
    every = bool(asked) and "THROUGHPUT" not in asked  # no list of keys, which is to ask for all
    for key in ("THROUGHPUT", *(k for k in ("THROUGHPUT_UNITS", "ELAPSED_TIME") if every or k in asked)):
        if key not in named:
            raise ValueError(f"no {key} is among its keys", ", ".join(named))
    return _figures(named, test)


def _pairs(lines: list[str]) -> list[tuple[str, str]]:
    told = []
    for line in lines:
        pair = _LINE.fullmatch(line)
        if not pair:
            raise ValueError("something stands among its keys", repr(line[:120]))
        told.append((pair[1], pair[2].strip('"')))
    return told


def _table(lines: list[str]) -> list[tuple[str, str]]:
    try:
        names, values = csv.reader(lines, strict=True)
        pairs = list(zip(names, values, strict=True))
    except (ValueError, csv.Error):
        raise ValueError("below the names of its columns there is not one whole line", f"{len(lines)} lines") from None
    # of two columns of the same name, as 2.7 has, neither is of use
    return [(COLUMNS.get(n, n), v.strip()) for n, v in pairs if n in COLUMNS or names.count(n) == 1]


def _figures(named: dict[str, str], test: str) -> Figures:
    interim = _interim(named)
    test = DIRECTIONS.get((named.get("PROTOCOL", ""), named.get("DIRECTION", "")), test)
    side = "LOCAL" if test == "TCP_MAERTS" else "REMOTE"  # which receives
    streams = test in (*TCP, *UDP)
    twice = ""
    if streams:
        twice = f"{side}_RECV_THROUGHPUT"
    elif named.get("THROUGHPUT_UNITS") == LETTERS["x"]:  # the side figures of such a test are in another unit
        twice = "TRANSACTION_RATE"
    received, retransmits = named.get(f"{side}_BYTES_RECVD"), int(named.get(f"{OTHER[side]}_TRANSPORT_RETRANS", -1))
    return Figures(
        form="keys",
        tests=(test,) if test else (),
        throughput=named.pop("THROUGHPUT"),
        unit=named.pop("THROUGHPUT_UNITS", ""),
        elapsed=named.pop("ELAPSED_TIME", ""),
        sent=named.get("LOCAL_SEND_THROUGHPUT", "") if streams and side == "REMOTE" else "",
        again=named.get(twice, ""),
        arrived_bits=8 * int(received) if streams and received else None,
        single=named["CONFIDENCE_ITERATION"] == "1" if "CONFIDENCE_ITERATION" in named else None,
        wanted=_per_cent(named, "CONFIDENCE_INTERVAL"),
        width=_per_cent(named, "THROUGHPUT_CONFID"),
        retransmits=None if retransmits < 0 else retransmits,
        interim=interim,
        other=named,
    )


def _per_cent(named: Mapping[str, str], key: str) -> float | None:
    """A width in per cent; without -I netperf prints a negative one."""
    width = float(named.get(key, -1))
    return None if width < 0 else width


def _interim(named: dict[str, str]) -> tuple[tuple[str, str, str], ...]:
    """Take the interim results (-D) out, in their order."""
    keys = [key for key in named if key.startswith(_INTERIM)]
    results = []
    for n in range(len(keys) // len(_INTERIM)):
        told = [named.pop(f"{key}[{n}]", "") for key in _INTERIM]
        if max(map(len, told)) > LONGEST or not re.fullmatch(r"\d+\.\d\d \S+/s \d+\.\d\d+ \d+\.\d\d\d", " ".join(told), re.ASCII):
            raise ValueError("an interim result is not whole", " ".join(told))
        results.append((told[0], told[1], told[2]))
    if left := [key for key in named if key.startswith(_INTERIM)]:
        raise ValueError("an interim result is not whole", ", ".join(left))
    return tuple(results)
