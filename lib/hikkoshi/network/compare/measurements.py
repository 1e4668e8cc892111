"""Throughput runs in a table, and what a link can carry at most.

A table of measurements is a CSV file with the columns `run,path,throughput`: one row per run, in the order measured.
"""

import csv
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from hikkoshi.check import Check
from hikkoshi.errors import BadInput, Problem, nearest

COLUMNS = ("run", "path", "throughput")
MSS = 1448  # bytes of payload in a full TCP segment: 1500 of IP packet less 20 IP, 20 TCP, 12 time stamp option
WIRE = 1538  # bytes of time that a full frame takes: 1500, 14 Ethernet header, 4 FCS, 8 preamble, 12 gap
ENOUGH = 6  # runs a path needs before a 95 % interval of its median exists: 1 - 2 / 2**6 is the first above 0.95


def read(path: Path) -> pd.DataFrame:
    """Read a table of measurements.

    The frame has a row per run in the file's order: `run` (int64, from 1, in the order measured), `path` (str, which way
    the traffic took), `throughput` (float64, finite, not negative, in the unit in which the table was published: the file
    does not carry one). `BadInput` names every bad line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as e:
        raise BadInput(
            Problem(
                code="measurements-unreadable",
                what="a table of measurements cannot be read",
                where=str(path),
                found=e.strerror or str(e),
                remedy="correct the path",
            )
        ) from None
    except UnicodeDecodeError as e:
        raise BadInput(
            Problem(
                code="measurements-not-text",
                what="a table of measurements is not text",
                where=str(path),
                found=str(e),
                expected="CSV in UTF-8",
                remedy="save it as CSV in UTF-8",
            )
        ) from None
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [name.strip() for name in next(reader, [])]
        lines = [(reader.line_num, fields) for fields in reader if any(field.strip() for field in fields)]
    except csv.Error as e:
        where = f"{path}:{reader.line_num}"
        raise BadInput(
            Problem(
                code="line-not-csv",
                what="a line is not CSV",
                where=where,
                found=str(e),
                expected=",".join(COLUMNS),
                remedy="correct the line",
            )
        ) from None
    problems = list(_header_problems(path, header))
    if problems:
        raise BadInput(*problems)
    rows: list[tuple[int, str, float]] = []
    seen: dict[tuple[int, str], int] = {}  # {(run, path): line where it was first}
    for line, fields in lines:
        where = f"{path}:{line}"
        if len(fields) != len(COLUMNS):
            problems.append(
                Problem(
                    code="line-fields-wrong",
                    what="a line has the wrong number of fields",
                    where=where,
                    found=",".join(fields),
                    expected=",".join(header),
                    remedy="correct the line",
                )
            )
            continue
        row = dict(zip(header, (field.strip() for field in fields), strict=True))
        bad = list(_row_problems(where, row))
        problems += bad
        if bad:
            continue
        key = (int(row["run"]), row["path"])
        if key in seen:
            problems.append(
                Problem(
                    code="run-twice",
                    what="a run is there twice",
                    where=where,
                    found=f"run {key[0]} of {key[1]}, also in line {seen[key]}",
                    expected="every run of a path once",
                    remedy="remove one of the two, or number the runs anew in the order measured",
                )
            )
            continue
        seen[key] = line
        rows.append((*key, float(row["throughput"])))
    if not lines:
        problems.append(
            Problem(
                code="measurements-empty",
                what="a table of measurements has no rows",
                where=str(path),
                found="a header only",
                expected="one row per run",
                remedy="fill it",
            )
        )
    if problems:
        raise BadInput(*problems)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"run": "int64", "throughput": "float64"})


def _header_problems(path: Path, names: list[str]) -> Iterator[Problem]:
    where, expected = f"{path}:1", ",".join(COLUMNS)
    for name in names:
        if name not in COLUMNS:
            remedy = nearest(name, COLUMNS) or "remove it: a table holds nothing else"
            yield Problem(
                code="column-unknown", what="unknown column", where=where, found=repr(name), expected=expected, remedy=remedy
            )
    for name in COLUMNS:
        if names.count(name) != 1:
            yield Problem(
                code="column-not-once",
                what=f"column {name!r} has to be there once",
                where=where,
                found="it is missing" if name not in names else f"{names.count(name)} of that name",
                expected=expected,
                remedy="correct the first line",
            )


def _row_problems(where: str, row: dict[str, str]) -> Iterator[Problem]:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", row["run"]):
        yield Problem(
            code="run-without-number",
            what="a run has no number",
            where=where,
            found=repr(row["run"]),
            expected="a whole number from 1",
            remedy="number the runs in the order measured",
        )
    if not row["path"]:
        yield Problem(
            code="run-without-path",
            what="a run has no path",
            where=where,
            found="an empty field",
            expected="the way the traffic took",
            remedy="name it: VLAN302, gateway, …",
        )
    try:
        throughput = float(row["throughput"].replace("_", "?"))  # float() reads 1_000, a person may have meant anything
    except ValueError:
        yield Problem(
            code="throughput-no-number",
            what="a throughput is not a number",
            where=where,
            found=repr(row["throughput"]),
            expected="digits with a point, without unit",
            remedy="correct it; leave a run that failed out, or write 0 if nothing came through",
        )
        return
    if not math.isfinite(throughput) or throughput < 0:
        yield Problem(
            code="throughput-impossible",
            what="a throughput cannot be",
            where=where,
            found=row["throughput"],
            expected="a finite number, 0 or more",
            remedy="correct it; leave a run that failed out, or write 0 if nothing came through",
        )


def runs(table: pd.DataFrame, path: str) -> pd.Series:
    """Throughput of one path's runs in the order measured, indexed by run; `BadInput` if the table has no such path."""
    chosen = table[table["path"] == path].sort_values("run")
    if chosen.empty:
        known = sorted(set(table["path"]))
        raise BadInput(
            Problem(
                code="path-without-runs",
                what="no runs of this path",
                where="table of measurements",
                found=repr(path),
                expected="one of: " + ", ".join(known),
                remedy=nearest(path, known) or "correct the name",
            )
        )
    return pd.Series(chosen["throughput"].to_numpy(), index=pd.Index(chosen["run"].to_numpy(), name="run"), name=path)


def side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """The same with a row per path, in the table's order, and a column per run: `path`, 1, 2, …; for a reader."""
    wide = table.pivot(index="path", columns="run", values="throughput")
    return wide.reindex(pd.unique(table["path"])).rename_axis(columns=None).reset_index()


def checks(table: pd.DataFrame, through: str, direct: str) -> list[Check]:
    """Whether the table can answer how `through` compares with `direct`."""
    counts = {path: int((table["path"] == path).sum()) for path in (through, direct)}
    paths = sorted(set(table["path"]))
    return [
        Check(
            code="measured-often-enough",
            title=f"{path} is measured often enough",
            ok=count >= ENOUGH,
            found=f"{count} runs",
            expected=f"{ENOUGH} or more, else no 95 % interval of a median exists",
            remedy="measure more runs, or correct the path's name; the table has " + ", ".join(paths),
        )
        for path, count in counts.items()
    ] + [
        Check(
            code="direct-runs-carried",
            title="every direct run carried data",
            ok=bool((table.loc[table["path"] == direct, "throughput"] > 0).all()),
            found=f"least {table.loc[table['path'] == direct, 'throughput'].min():g}",
            expected="more than 0: it is what the other path is compared with",
            remedy="mend the direct path first, then measure again",
        )
    ]


def payload_cap(line_rate: float) -> float:
    """The most that TCP can carry over Ethernet with 1500-byte packets, in the unit of `line_rate`.

    A full segment brings `MSS` bytes and keeps the wire busy for `WIRE` bytes: 100 Mb/s carry 94.15 Mb/s.
    """
    return line_rate * MSS / WIRE


def readings(throughput: pd.Series) -> pd.DataFrame:
    """What the same figures would mean in either of the units that a netperf table may be in.

    A row per reading: `link` (the Ethernet that it needs), `cap` (the most TCP carries over it, in that unit), and the
    least, second least and greatest run as a share of that cap, in per cent. Takes two runs or more.
    """
    ordered = np.sort(throughput.to_numpy(dtype=np.float64))
    links = [
        ("Mb/s (10^6 bits)", "100BASE-TX", payload_cap(100)),
        ("MBytes/s (2^20 bytes, as netperf -f M)", "1000BASE-T", payload_cap(1e9) / 8 / 2**20),
    ]
    return pd.DataFrame(
        [
            {
                "read as": unit,
                "link": link,
                "cap": cap,
                "least %": 100 * ordered[0] / cap,
                "second least %": 100 * ordered[1] / cap,
                "greatest %": 100 * ordered[-1] / cap,
            }
            for unit, link, cap in links
        ]
    )
