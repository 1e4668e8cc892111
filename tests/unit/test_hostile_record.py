"""A record may come from anybody: whatever lies in it, verifying ends with a verdict, soon, and within some memory."""

import contextlib
import json
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hikkoshi import files
from hikkoshi.approval import limits
from hikkoshi.approval.approver import trust
from hikkoshi.approval.signature import Trust
from hikkoshi.params.home import Home
from hikkoshi.record import bag, missing, seal, verification
from hikkoshi.record.instructions import SIGNATURE
from hikkoshi.run.journal import Journal
from hikkoshi_lab import keys
from sealed import DISK, MACHINE, PLAN, ended, list_again, sealed_home, sign_again, writable

pytestmark = pytest.mark.needs("ssh-keygen")
FIRST, RUN = "20260103T000000Z-60-deploy", "20260104T000000Z-70-cutover"
MEMORY = 1 << 30  # bytes more than before
SECONDS = 30


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A cut-over, sealed after another run: with a plan, its approval, and what stands in vSphere."""
    home = sealed_home(tmp_path_factory.mktemp("hostile") / "home")
    folder = home.folder("gateway")
    ended(home, "gateway", FIRST)
    seal.of_run(home, "gateway", FIRST)
    files.write(folder / "conversion.json", json.dumps({"vmdk_sha256": DISK}))
    files.write(folder / "deployment.json", json.dumps({"instance_uuid": MACHINE}))
    journal, run = Journal(folder / "journal.jsonl"), {"run": RUN, "step": "70-cutover"}
    inputs = {**home.inputs("gateway"), "plan.json": PLAN}
    journal.append("open", **run, mode="apply", guest="gateway", inputs=inputs, clock=1_700_000_000_000_000_000)
    tried = {"title": "whoever carries this out can sign for it", "state": "ok", "found": "operator@lab, SHA256:x"}
    journal.append("preflight", **run, state="ok", checks=[tried])
    journal.append("start", **run, title="source off")
    bound = {"approver": keys.APPROVER, "plan": PLAN, "vmdk": DISK, "machine": MACHINE, "service": True}
    journal.append("permitted", **run, **bound)
    journal.append("step", **run, title="source off", state="done", seconds=1.0, found="")
    seen = {"file": "outputs/guests/gateway/gone.txt", "bytes": 1, "sha256": "0" * 64, "modified": 1}
    journal.append("evidence", **run, artefacts=[seen])
    ended(home, "gateway", RUN)
    seal.of_run(home, "gateway", RUN)
    writable(home.outputs / "records")
    return home


@pytest.fixture
def record(home: Home, tmp_path: Path) -> Path:
    shutil.copytree(home.outputs / "records", tmp_path / "records", symlinks=True)
    return tmp_path / "records" / "gateway" / RUN


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Whatever takes more time or memory than this fails."""

    def late(signum: int, frame: object) -> None:
        pytest.fail(f"no verdict after {SECONDS} s")

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))
        signal.signal(signal.SIGALRM, handler)


def verdict(home: Home, record: Path, *, alone: bool = False) -> list[str]:
    """What is wrong with the record, and with all beside it; each safe to print, and none that only says "an error"."""
    lists = keys.folder(home)
    believed = Trust(lists / "allowed_signers", lists / "revoked")
    with bounded():
        found = verification.verify(record if alone else record.parents[1], believed).problems
    texts = "".join(str(p) for p in found)
    assert texts.replace("\n", "").replace("\t", "").isprintable()
    assert "MemoryError" not in texts
    return [p.what for p in found]


def unsigned(record: Path) -> None:
    """As it would be if it had been sealed without a key, with all that was changed in it: nothing of it is anybody's word."""
    (record / SIGNATURE).unlink(missing_ok=True)
    list_again(record, Sealed_By="nobody: no key")


def hole(path: Path, size: int = 1 << 43) -> None:
    path.unlink()
    with path.open("wb") as f:
        f.truncate(size)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def content(raw: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(raw)

    return write


PLACES = {"a hole": hole, "a pipe": fifo, "a folder": folder, "a link": link, "nothing": Path.unlink}
CONTENTS: dict[str, Callable[[Path], None]] = {
    "half of it": cut,
    "nothing in it": content(b""),
    "bytes": content(bytes(range(256)) * 9),
    "a deep nest": content(b"[" * 200_000 + b"\n"),
    "a nest in lines": content(b"- [[[[[[[[\n" * 9_000),
    "a deep nest of keys": content(b'{"a":' * 100_000 + b"\n"),
    "no UTF-8": content(b'{"event": "\xff\xfe"}\n'),
    "half a character": content(b'{"event": "open", "run": "\\ud800", "time": "\\udfff"}\n'),
    "numbers without end": content(b'{"n": 1e999, "clock": ' + b"9" * 4000 + b', "seconds": NaN}\n'),
    "a text of YAML that grows": content(
        b"a: &a [x,x]\n" + b"".join(b"%c: &%c [*%c,*%c]\n" % (n, n, n - 1, n - 1) for n in range(98, 122))
    ),
    "a list": content(b"[1, 2]\n"),
    "null": content(b"null\n"),
    "a terminal's commands": content(b"\x1b]52;c;x\x07\x1b[2J\n"),
}
NAMES = (
    "bagit.txt",
    bag.INFO,
    bag.MANIFEST,
    bag.TAG_MANIFEST,
    SIGNATURE,
    "README.txt",
    "data/journal.jsonl",
    "data/plan.json",
    "data/deployment.json",
    "data/left-out.tsv",
    "data/params/site.yml",
    "data/approvals/approval.txt",
    "data/approvals/approval.txt.sig",
    f"data/{RUN}.ipynb",
    "data/runbook/70-cutover.ipynb",
    "../../register.tsv",
    f"../{FIRST}/data/journal.jsonl",
    f"../{FIRST}/{bag.TAG_MANIFEST}",
)


@pytest.mark.parametrize("name", NAMES)
def test_whatever_stands_in_the_place_of_a_file_verifying_ends_with_a_verdict(home: Home, record: Path, name: str) -> None:
    assert verdict(home, record) == []
    path = record / name
    for damage in (*PLACES.values(), *CONTENTS.values()):
        damage(path)
        assert verdict(home, record), damage
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        shutil.copy(home.outputs / "records" / "gateway" / RUN / name, path)


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("data/")])
def test_so_it_does_where_nobody_signed_and_all_hashes_fit(home: Home, record: Path, name: str) -> None:
    for damage in CONTENTS.values():
        damage(record / name)
        unsigned(record)
        assert "the record is not signed" in verdict(home, record, alone=True)


@pytest.mark.parametrize("name", ["data/left-out.tsv", "data/journal.jsonl", f"data/{RUN}.ipynb", "data/approvals/approval.txt"])
def test_what_is_larger_than_any_of_its_kind_is_named_and_not_read(home: Home, record: Path, name: str) -> None:
    hole(record / name, limits.JOURNAL + 1)  # no other kind may be larger
    unsigned(record)
    named = {"a file of the record cannot be read", "the journal is larger than any of ours"}
    assert set(verdict(home, record, alone=True)) & named


def test_a_signed_list_without_end_is_not_hashed_though_its_signature_is_in_order(home: Home, record: Path) -> None:
    hole(record / bag.TAG_MANIFEST, 8 << 30)
    assert "a manifest cannot be read" in verdict(home, record)
    journal = Journal(home.folder("gateway") / "journal.jsonl")
    assert [e["of"] for e in journal.entries() if e["event"] == "sealed"] == [FIRST, RUN]
    there = home.outputs / "records" / "gateway" / RUN / bag.TAG_MANIFEST
    kept = there.read_bytes()
    try:
        hole(there, 1 << 43)
        with bounded():
            assert [p.found for p in missing.check(home)] == ["another record"]
    finally:
        there.unlink()
        there.write_bytes(kept)


def test_a_cut_over_without_a_plan_at_all_is_judged_and_not_looked_for(home: Home, record: Path) -> None:
    lines = [json.loads(line) for line in (record / "data/journal.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("inputs", None)
    (record / "data/journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (record / "data/plan.json").unlink()
    unsigned(record)
    assert "a file of the record cannot be read" not in verdict(home, record, alone=True)


@pytest.mark.parametrize("key", ["Sealed", "Previous-Record", "Outcome", "Notebook", "Guest", "Record-Format", "Step"])
@pytest.mark.parametrize("value", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "gateway/" + "a" * 5000, "none", "../x"])
def test_an_odd_word_of_the_record_itself_is_a_flaw_and_no_error(home: Home, record: Path, key: str, value: str) -> None:
    list_again(record, **{key.replace("-", "_"): value})
    sign_again(record, keys.folder(home) / "operator")
    verdict(home, record)
    (record / SIGNATURE).unlink()
    assert "the record is not signed" in verdict(home, record)


ODD: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(
        [
            None,
            True,
            -1,
            10**400,
            float("nan"),
            float("inf"),
            "",
            "\ud800",
            "0001-01-01T00:00:00+23:59",
            "\x1b[2J\0",
            "9999-12-31T23:59:59-23:59",
            "2026-01-04",
            RUN,
            "Refused: x",
            [],
            {},
        ]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["title", "file", "sha256"]), inner, max_size=2),
    max_leaves=3,
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_the_lines_of_the_journal_hold_it_is_judged_and_a_run_after_it_is_sealed(home: Home, data: Any) -> None:
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(TemporaryDirectory()))
        shutil.copytree(home.root, place / "home", symlinks=True)
        other = Home(place / "home")
        record = seal.folder(other, "gateway") / RUN
        lines = [json.loads(line) for line in (record / "data/journal.jsonl").read_text().splitlines()]
        for _ in range(data.draw(st.integers(1, 3))):
            line = data.draw(st.sampled_from(lines))
            key = data.draw(st.sampled_from([*line, "clock", "service", "seconds"]))
            value = data.draw(ODD)
            line.pop(key, None) if value == [] else line.update({key: value})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (record / "data/journal.jsonl").write_text(text)
        unsigned(record)
        told = verdict(other, record, alone=True)
        assert "the record is not signed" in told
        assert "the record cannot be judged" not in told


@pytest.mark.parametrize(
    "line",
    [
        {"event": "open", "run": RUN, "time": "noon"},
        {"event": "open", "run": RUN, "time": "2026-01-01T00:00:00"},
        {"event": "open", "run": RUN, "time": "0001-01-01T00:00:00+23:59"},
        {"event": "open", "run": RUN},
        {"event": "open", "run": RUN, "time": 5},
        {"event": "open", "time": "2026-01-01T00:00:00+00:00"},
        {"event": "open", "run": RUN, "time": "2026-01-01T00:00:00+00:00", "clock": "late"},
        {"event": "open", "run": RUN, "time": "2026-01-01T00:00:00+00:00", "clock": 10**400},
        {"event": "open", "run": RUN, "time": "2026-01-01T00:00:00+00:00", "inputs": ["plan.json"]},
        {"event": "outcome", "run": RUN, "time": "2026-01-01T00:00:00+00:00", "outcome": 5},
        {"event": "evidence", "run": RUN, "time": "noon", "artefacts": [{"file": "x", "bytes": 1, "sha256": "0"}]},
        {"event": "evidence", "run": RUN, "time": "2026-01-01T00:00:00+00:00", "artefacts": 5},
        {"event": "unsealed", "time": "2026-01-01T00:00:00+00:00"},
        {"event": "step", "run": RUN, "title": "t", "state": "done", "time": "2026-01-01T00:00:00+00:00", "guest": []},
        {"event": ["open"], "time": "2026-01-01T00:00:00+00:00"},
        {"time": "2026-01-01T00:00:00+00:00"},
    ],
    ids=str,
)
def test_a_line_that_is_none_of_ours_keeps_no_guest_from_being_sealed_and_is_a_flaw(
    home: Home, tmp_path: Path, line: dict[str, Any]
) -> None:
    shutil.copytree(home.root, tmp_path / "home", symlinks=True)
    other = Home(tmp_path / "home")
    journal = Journal(other.folder("gateway") / "journal.jsonl")
    files.write(other.folder("gateway") / "disk" / "x.img", "a disk that was listed")
    journal.append("x")
    *before, last = journal.path.read_bytes().splitlines()
    chained = {key: value for key, value in json.loads(last).items() if key in ("n", "prev")}
    journal.path.write_bytes(b"\n".join([*before, json.dumps({**chained, **line}).encode(), b""]))
    ended(other, "gateway", "20260105T000000Z-80-netperf")
    assert seal.attempt(other, "gateway", "20260105T000000Z-80-netperf")[1] == ""
    assert seal.of_guest(other, "gateway").is_dir()
    told = [p.what for p in verification.verify(other.outputs / "records", trust(other, other.site())).problems]
    assert set(told) == {"a line of the journal is none of ours"}
