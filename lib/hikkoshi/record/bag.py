"""Folders of evidence as archives keep them: BagIt 1.0 (RFC 8493) with SHA-256, written and read.

Names in a bag are ASCII without blanks, and two spaces stand between a hash and its name: so `sha256sum -c` of coreutils
and `shasum -a 256 -c` of perl (macOS) both read the manifests as they are.
"""

import errno
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hikkoshi import files
from hikkoshi.approval import limits
from hikkoshi.errors import Problem, printable

Content = Path | bytes
DECLARATION = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
MANIFEST, TAG_MANIFEST, INFO = "manifest-sha256.txt", "tagmanifest-sha256.txt", "bag-info.txt"
LONGEST = 200  # characters of one name; file systems take 255 bytes
BLOCK = 1 << 20
TAMPERED = "this is not what was sealed: keep it as it is, and take the record from a copy"
THREADS = 2  # hashing and writing leave Python's lock; more of them did not help on disks


@dataclass(frozen=True)
class Payload:
    """What lies below data/: {name, with data/: SHA-256}, and how many bytes that is."""

    digests: dict[str, str]
    bytes: int


def plain(name: str) -> str:
    """A relative path with every byte that tools disagree about as =XX; different paths stay different."""
    parts = os.fsencode(name).split(b"/")
    return "/".join(_plain(re.sub(rb"[^A-Za-z0-9._-]", lambda m: b"=%02X" % m[0][0], p).decode(), p) for p in parts)


def _plain(name: str, raw: bytes) -> str:
    return name if len(name) <= LONGEST else f"{name[:130]}=x{hashlib.sha256(raw).hexdigest()}"


def fill(folder: Path, payload: Mapping[str, Content]) -> Payload:
    """Make data/ in an empty folder and copy the payload {name: file or bytes} into it, hashing on the way."""
    folder.joinpath("data").mkdir()
    targets = {f"data/{name}": content for name, content in payload.items()}
    for name in targets:
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(THREADS) as pool:
        made = list(pool.map(lambda item: _copy(item[1], folder / item[0]), targets.items()))
    return Payload(dict(zip(targets, (digest for digest, _ in made), strict=True)), sum(size for _, size in made))


def close(folder: Path, payload: Payload, info: Iterable[tuple[str, str]], tags: Mapping[str, str]) -> None:
    """Write the tag files: `info` becomes bag-info.txt, `tags` {name: text} are files beside it."""
    oxum = ("Payload-Oxum", f"{payload.bytes}.{len(payload.digests)}")
    words = "".join(f"{label}: {' '.join(value.split()) or 'none'}\n" for label, value in (*info, oxum))
    texts = {"bagit.txt": DECLARATION, INFO: words, MANIFEST: manifest(payload.digests), **tags}
    for name, text in texts.items():
        folder.joinpath(name).write_text(text, encoding="utf-8")
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    folder.joinpath(TAG_MANIFEST).write_text(manifest(digests), encoding="utf-8")


def manifest(digests: Mapping[str, str]) -> str:
    """{name: SHA-256} as a manifest's text."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def read_manifest(path: Path) -> tuple[dict[str, str], list[Problem]]:
    """{name: SHA-256} of a manifest's good lines, and what is wrong with the others; no name leads out of the bag."""
    digests: dict[str, str] = {}
    problems = []
    below = "data" if path.name == MANIFEST else ""
    try:
        text = files.read(path, limits.MANIFEST).decode(errors="replace")
    except OSError as e:
        return {}, [
            Problem(
                code="manifest-unreadable",
                what="a manifest cannot be read",
                where=str(path),
                found=e.strerror or str(e),
                expected="a file",
                remedy="see what it is",
            )
        ]
    for n, line in enumerate(text.split("\n")[:-1], 1):
        fits = re.fullmatch(r"([0-9a-f]{64})  ([!-~]+)", line)
        name = PurePosixPath(fits[2]) if fits else PurePosixPath("..")
        if not fits or name.is_absolute() or ".." in name.parts or str(name) != fits[2]:
            code, flaw = "manifest-line-malformed", "a line of a manifest names no file of this record"
        elif (below == "data") != (name.parts[0] == "data" and len(name.parts) > 1):
            code, flaw = "manifest-line-misplaced", "a line stands in the wrong manifest"
        elif fits[2] in digests:
            code, flaw = "manifest-line-twice", "a manifest names a file twice"
        else:
            digests[fits[2]] = fits[1]
            continue
        expected = f"64 hexadecimal digits, two spaces, a path {'in data/' if below else 'outside data/'}"
        problems.append(
            Problem(
                code=code,
                what=flaw,
                where=f"{path}:{n}",
                found=line[:120],
                expected=expected,
                remedy="this record was tampered with, or is damaged",
            )
        )
    if text and not text.endswith("\n"):
        problems.append(
            Problem(
                code="manifest-cut-off",
                what="a manifest does not end with a whole line",
                where=str(path),
                remedy="take it from a backup",
            )
        )
    return digests, problems


def read_info(folder: Path) -> dict[str, str]:
    """{label: value} of bag-info.txt, printable; empty where there is none. Of a label that stands twice, the first."""
    try:
        text = files.read(folder / INFO, limits.INFO).decode(errors="replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in text.split("\n"):
        label, _, value = line.partition(": ")
        found.setdefault(label, printable(value))
    return found


def _copy(content: Content, target: Path) -> tuple[str, int]:
    if isinstance(content, bytes):
        target.write_bytes(content)
        return hashlib.sha256(content).hexdigest(), len(content)
    digest, size = hashlib.sha256(), 0
    with files.opened(content) as source, target.open("xb", buffering=0) as copy:
        while block := source.read(BLOCK):
            digest.update(block)
            rest = memoryview(block)
            while rest:
                rest = rest[copy.write(rest) :]
            size += len(block)
            if size > limits.SEALED:
                raise OSError(errno.EFBIG, f"larger than {files.human(limits.SEALED)}", str(content))
    return digest.hexdigest(), size


def is_record(path: Path) -> bool:
    """Whether a folder is a record."""
    return any(files.regular(path / name) for name in ("bagit.txt", INFO, MANIFEST, TAG_MANIFEST))
