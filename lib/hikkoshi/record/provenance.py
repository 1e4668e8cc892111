"""Whose runbook and program a run was carried out with: the project's own, as they are in its commit, or changed ones.

A site may have its own folder `notebooks/`, and whoever has the project may edit it: that is nobody's fault, and has to be
seen. What is in the working folder is compared with the commit's own objects; git's index, which can be told to look away, is
not asked. A package that was installed has no commit here: it is compared with the hashes that pip wrote then. Whoever can
edit code can edit this, too: then the record holds a lie, under the name of whoever sealed it.
"""

import base64
import binascii
import functools
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from hikkoshi import files, tool
from hikkoshi.approval import limits
from hikkoshi.errors import Problem, ToolFailed, printable
from hikkoshi.record import anatomy, bag
from hikkoshi.record.engine import environment, prose
from hikkoshi.record.engine.runbook import PACKAGED, PROJECT

SAME, INSTALLED, CHANGED, UNKNOWN, NONE = "as in the commit", "as it was installed", "CHANGED", "not compared", "none"
PARTS = ("lib", "notebooks")
PASSING = ("__pycache__", ".egg-info", ".ipynb_checkpoints")  # what Python and Jupyter put beside the code
OF_THEN = "as in an earlier commit, "  # and which
EARLIER = 50  # commits that are looked through for the runbook of a run that is sealed after an update
NAMED = 20  # files that are named; of more, only how many
WHOSE = re.compile(rf"{SAME}|{INSTALLED}|{NONE}|({CHANGED}|{UNKNOWN}).*|{OF_THEN}([0-9a-f]{{40}}|[0-9a-f]{{64}})", re.DOTALL)
REMEDY = "whoever sealed this record sealed a contradiction: ask how it came to be"


@dataclass(frozen=True)
class Provenance:
    """What bag-info.txt tells of a run's runbook and of the program, and the project's own runbook where it is another."""

    runbook: str = NONE
    sha256: str = ""  # of the runbook in the record
    own_sha256: str = ""  # of the project's own
    own: bytes = b""  # that itself, where it is another
    software: str = NONE
    by_hand: str = ""  # what is told of a run whose cells somebody ran one by one; empty where a program went through them
    shown: Mapping[str, bytes] = field(default_factory=dict)  # {language: the runbook as it was read}; nothing for English


def of(step: str, used: bytes, executed: bytes | None) -> Provenance:
    """Hold a run's runbook against the project's: `executed` is what the engine ran, where it did, `used` the file it is from."""
    digest, told, hand = hashlib.sha256(used).hexdigest(), software(), by_hand(executed or b"")
    same, whose = SAME, "project"
    catalogue: Callable[[str], bytes | None] = _packaged
    try:
        commit = _commit()
        own, catalogue = _committed(commit, f"notebooks/{step}.ipynb", used), functools.partial(_translation, commit)
    except ToolFailed as e:
        if not PACKAGED.is_dir():
            return Provenance(f"{UNKNOWN}: {e.problems[0].found or e.problems[0].what}", digest, "", b"", told, hand)
        own, same, whose = _packaged(f"{PACKAGED.name}/{step}.ipynb"), INSTALLED, "package as it was installed"
    if own is None:
        return Provenance(f"{CHANGED}: the {whose} has no such runbook", digest, "", b"", told, hand)
    own_digest = hashlib.sha256(own).hexdigest()
    if (shown := _read_in(own, used, executed, step, catalogue)) is not None:
        return Provenance(same, digest, own_digest, b"", told, hand, shown)
    if same == SAME and (earlier := _earlier(step, used, executed)):
        return Provenance(f"{OF_THEN}{earlier}", digest, own_digest, own, told, hand)
    return Provenance(f"{CHANGED}: other cells than the project's own", digest, own_digest, own, told, hand)


def software() -> str:
    """Whether the package that runs is the one of the commit, or of the installed package's own list."""
    try:
        listed = _listed(_commit())
    except ToolFailed as e:
        return _installed() or f"{UNKNOWN}: {e.problems[0].found or e.problems[0].what}"
    there = dict(_files("lib"))
    other = [n for n, blob in listed.items() if n.startswith("lib/") and (n not in there or _id(there[n], len(blob)) != blob)]
    return _told(sorted({*other, *(there.keys() - listed.keys())}), SAME)


def cells(notebook: bytes) -> list[tuple[str, str]] | None:
    """(kind, text) of a notebook's cells, as written: without what they showed, and without papermill's own cells.

    Of parameters the names count: JupyterLab saves a runbook with the values that it was run with, and the journal has these.
    """
    try:
        found: list[tuple[str, str]] = []
        for cell in json.loads(notebook)["cells"]:
            tags, kind = anatomy.tags(cell), cell["cell_type"]
            source = "".join(cell["source"])
            if kind == "code" and "parameters" in tags and (names := anatomy.plain_values(source)) is not None:
                found.append((kind, f"values for {', '.join(sorted(names))}"))
            elif anatomy.GIVEN not in tags and not (kind == "markdown" and anatomy.FAILED in tags):
                found.append((kind, source))
        return found
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def by_hand(executed: bytes) -> str:
    """What an executed notebook tells of a run by hand: how many cells, and what about them; empty where it was none."""
    try:
        told: dict[str, int] = json.loads(executed)["metadata"]["hikkoshi"]["by_hand"]
        return ", ".join(f"{printable(str(count))} {printable(what)}" for what, count in told.items())
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""


def _read_in(
    own: bytes, used: bytes, executed: bytes | None, step: str, catalogue: Callable[[str], bytes | None]
) -> dict[str, bytes] | None:
    """{language: the runbook in it} where a run was by `own`, and read so; empty where in English; None where by another one.

    `catalogue` has the content of one by its name in the package.
    """
    if cells(used) != cells(own):  # all of them, whatever the file says of itself: only a run by hand may leave cells out
        return None
    if executed is None or _is(executed, own):
        return {}
    for lang in prose.LANGUAGES:
        if _is(executed, shown := _in_words(own, catalogue(prose.catalogue(lang, step)))):
            return {lang: shown}
    return None


def _in_words(own: bytes, catalogue: bytes | None) -> bytes:
    """A runbook as a catalogue has its texts; as it is where there is none, or either is damaged."""
    try:
        return prose.translated(own, catalogue) if catalogue else own
    except (ValueError, LookupError, TypeError):
        return own


def _is(content: bytes, own: bytes, seen: Callable[[bytes], list[tuple[str, str]] | None] = cells) -> bool:
    """Whether a notebook has the cells of `own`, as `seen` sees them; of one that was run by hand, whether it has no others."""
    found, known = seen(content), seen(own)
    if found and known and by_hand(content):
        return {c for c in found if c[0] == "code"} <= set(known)
    return found == known


def changed(info: Mapping[str, str]) -> str:
    """'runbook', 'software' or both, where a record's bag-info.txt calls them changed."""
    return " and ".join(x.lower() for x in ("Runbook", "Software") if info.get(x, "").startswith(CHANGED))


def check(record: Path, info: Mapping[str, str], listed: Mapping[str, str], notes: list[str]) -> Iterator[Problem]:
    """Whether a record says of its runbook what it holds; that either was changed is told in `notes`, and is no flaw."""
    said, where = info.get("Runbook", ""), str(record / bag.INFO)
    if not WHOSE.fullmatch(said) or not info.get("Software"):
        yield Problem(
            code="runbook-origin-missing",
            what="the record does not say whose runbook it is",
            where=where,
            found=said,
            expected="a line Runbook that tells it, an earlier commit by its whole hash, and a line Software",
            remedy=REMEDY,
        )
        return
    step, commit = info.get("Step", ""), info.get("Runbook-Commit", "unknown")
    names = {"used": f"data/runbook/{step}.ipynb", "own": f"data/runbook-of-the-project/{step}.ipynb"}
    names |= {lang: f"data/runbook/{step}.{lang}.ipynb" for lang in prose.LANGUAGES}
    held = {what: files.read(record / name, limits.NOTEBOOK) for what, name in names.items() if name in listed}
    if said != NONE and listed.get(names["used"], "") != info.get("Runbook-SHA256"):
        expected = info.get("Runbook-SHA256", "none")
        yield Problem(
            code="runbook-differs",
            what="the record holds another runbook than it says",
            where=names["used"],
            found=listed.get(names["used"], "none"),
            expected=expected,
            remedy=REMEDY,
        )
    executed = files.read(record / info["Notebook"], limits.NOTEBOOK) if info.get("Notebook", NONE) in listed else None
    known = said.startswith(OF_THEN) and _there(said[len(OF_THEN) :])
    if "used" in held:
        for name, found in _others(said, held, executed, step, commit, known):
            yield Problem(
                code="runbook-called-own",
                what="a runbook that was changed is called the project's own",
                where=str(record / names.get(name, info["Notebook"])),
                found=found,
                expected=said,
                remedy=REMEDY,
            )
    if hand := by_hand(executed or b""):
        notes.append(f"run by hand: {hand}")
    for what, label in (("RUNBOOK", "Runbook"), ("SOFTWARE", "Software")):
        if info[label] not in (SAME, INSTALLED, NONE):
            missing = label == "Runbook" and said.startswith(OF_THEN) and not known
            how = f"{UNKNOWN}: there is no such commit here" if missing else f"held against the project's own, commit {commit}"
            notes.append(f"{what} {info[label]} ({how})")


def _others(
    said: str, held: Mapping[str, bytes], executed: bytes | None, step: str, commit: str, known: bool
) -> Iterator[tuple[str, str]]:
    """(what in a record, how) is other than its runbook `used` and its translations, or than the commit has these.

    Nothing of a record that calls its runbook changed. `known`: whether the earlier commit that it names is here.
    """
    if said.startswith(OF_THEN):
        yield from _not_of_then(held["used"], executed, step, said[len(OF_THEN) :], known)
    if said not in (SAME, INSTALLED):
        return
    used, read_in = held["used"], {lang: held[lang] for lang in prose.LANGUAGES if lang in held}
    if executed is not None and not any(_is(executed, text) for text in (used, *read_in.values())):
        yield "executed", "other cells than its runbook's"
    own = _own(commit, step)
    if own and cells(own) != cells(used):
        yield "used", f"other cells than those of commit {commit}"
    for lang, shown in read_in.items():
        if _without_texts(shown) != _without_texts(used):
            yield lang, "other cells than its runbook's"
        elif own and cells(shown) != cells(_in_words(own, _translation(commit, prose.catalogue(lang, step)))):
            yield lang, f"other texts than those of commit {commit}"


def _not_of_then(used: bytes, executed: bytes | None, step: str, commit: str, known: bool) -> Iterator[tuple[str, str]]:
    """(what in a record, how) is other than its runbook, or that of the earlier commit that it names, where that is here."""
    own = _own(commit, step)
    if executed is not None and not _is(executed, used, _without_texts):
        yield "executed", "other cells than its runbook's"
    elif own is None and known:
        yield "used", f"commit {commit} has no such runbook"
    elif own and _read_in(own, used, executed, step, functools.partial(_translation, commit)) is None:
        yield "used" if cells(used) != cells(own) else "executed", f"other cells than those of commit {commit}"


def _without_texts(notebook: bytes) -> list[tuple[str, str]] | None:
    """Its cells, of texts only that they are there."""
    found = cells(notebook)
    return found and [(kind, "" if kind == "markdown" else source) for kind, source in found]


def _commit() -> str:
    commit = "unknown: the package is installed, and no checkout" if PACKAGED.is_dir() else environment.commit()
    if commit.startswith("unknown: "):
        raise ToolFailed(
            Problem(code="no-commit", what="there is no commit to compare with", found=commit.removeprefix("unknown: "))
        )
    return commit.partition(",")[0]


def _git(*words: str) -> bytes:
    argv = ["git", "-c", f"safe.directory={PROJECT}", "-C", str(PROJECT), "--no-replace-objects", *words]
    return tool.run(argv, timeout=60).stdout.encode(errors="surrogateescape")


def _blob(name: str) -> bytes | None:
    """What a commit has under a name; none where it has nothing."""
    try:
        return _git("cat-file", "blob", name)
    except ToolFailed:
        return None


def _there(commit: str) -> bool:
    """Whether this is a checkout that has a commit."""
    try:
        return bool(_git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"))
    except ToolFailed:
        return False


def _own(commit: str, step: str) -> bytes | None:
    """A runbook as a commit has it, where this is a checkout that has the commit: whoever verifies need not have the project."""
    known = re.match(r"[0-9a-f]{40,64}\b", commit) and re.fullmatch(r"[0-9a-z-]+", step)
    return _blob(f"{commit.partition(',')[0]}:notebooks/{step}.ipynb") if known else None


def _translation(commit: str, name: str) -> bytes | None:
    """A catalogue as a commit of this checkout has it, by its name in the package."""
    return _blob(f"{commit.partition(',')[0]}:lib/hikkoshi/{name}")


def _committed(commit: str, name: str, like: bytes) -> bytes | None:
    """The same of a commit that this checkout has; what is `like` it need not be asked for."""
    blob = _listed(commit).get(name, "")
    return like if blob and _id_of(like, len(blob)) == blob else _blob(f"{commit}:{name}")


@functools.cache
def _listed(commit: str) -> dict[str, str]:
    """{path: git's id of its content} of a commit's code and runbooks."""
    rows = _git("ls-tree", "-r", "-z", "--full-tree", commit, *PARTS).decode(errors="surrogateescape").split("\0")
    return {row.partition("\t")[2]: row.split()[2] for row in rows if row}


def _id(path: str, length: int) -> str:
    """Git's id of a file's content, of the length that ids have in this repository; read again only when it was written."""
    found = os.lstat(path)
    return _read(path, length, (found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


@functools.cache
def _read(path: str, length: int, state: tuple[int, ...]) -> str:
    return _id_of(Path(path).read_bytes() if stat.S_ISREG(state[1]) else b"", length)


def _id_of(content: bytes, length: int) -> str:
    kind = hashlib.sha256 if length == 64 else hashlib.sha1
    return kind(b"blob %d\0" % len(content) + content).hexdigest()


def _files(part: str) -> Iterator[tuple[str, str]]:
    """(its name in the project, where it is) of each file that is there, links with them."""
    for place, folders, names in os.walk(PROJECT / part):
        folders[:] = [name for name in folders if not name.endswith(PASSING)]
        for name in names:
            if not name.endswith(PASSING):
                path = os.path.join(place, name)  # noqa: PTH118 - a Path for each file takes ten times as long
                yield os.path.relpath(path, PROJECT), path


def _earlier(step: str, used: bytes, executed: bytes | None) -> str:
    """The newest commit before the present one whose runbook is the one that was used; empty where none is."""
    name, words = f"notebooks/{step}.ipynb", [f"lib/hikkoshi/{prose.catalogue(lang, step)}" for lang in prose.LANGUAGES]
    for commit in _git("rev-list", f"--max-count={EARLIER}", _commit(), "--", name, *words).decode().split():
        content = _blob(f"{commit}:{name}")
        if content is not None and _read_in(content, used, executed, step, functools.partial(_translation, commit)) is not None:
            return commit
    return ""


def _installed() -> str:
    """The same by the list of hashes that pip wrote when it installed the package; empty where it is no such package."""
    listed = {Path(str(f.locate())): f.hash for f in _by_pip().values()}
    if PROJECT / "lib" / "hikkoshi" in {p.parent for p in listed} or not listed:
        return ""
    return _told([str(p) for p, h in listed.items() if _sha256(p) != _decoded(h)], INSTALLED)


def _packaged(name: str) -> bytes | None:
    """A file that an installed package brought; none where it brought no such one, or that is another one by now."""
    path, listed = PACKAGED.parent / name, _by_pip().get(f"hikkoshi/{name}")
    return files.read(path) if listed and _sha256(path) == _decoded(listed.hash) else None


def _by_pip() -> dict[str, metadata.PackagePath]:
    """What pip installed of the package, by its name there, where it wrote down a hash."""
    return {str(f): f for f in metadata.files("hikkoshi") or () if f.hash and f.parts[0] == "hikkoshi"}


def _sha256(path: Path) -> str:
    return files.sha256(path, own=True) if files.regular(path) else ""


def _decoded(told: Any) -> str:
    try:
        return base64.urlsafe_b64decode(str(told.value) + "==").hex()
    except binascii.Error:
        return "unreadable"


def _told(other: list[str], same: str) -> str:
    if not other:
        return same
    more = f" and {len(other) - NAMED} more" if len(other) > NAMED else ""
    return f"{CHANGED}: {', '.join(map(bag.plain, other[:NAMED]))}{more}"
