"""The rules of the layout, checked: imports go one way, modules are nouns of readable size, environments agree."""

import ast
import functools
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from rattler import MatchSpec, Version, VersionSpec
from ruamel.yaml import YAML

from hikkoshi.params.folder import GuestFolder
from hikkoshi.run.step import STEPS

PROJECT = Path(__file__).parents[2]
LIB = PROJECT / "lib" / "hikkoshi"
LAB = PROJECT / "lib" / "hikkoshi_lab"
MODULES = sorted(p for p in LIB.rglob("*.py"))

# each may import what stands in the lines above it, and itself
ORDER = [
    {"errors", "run.step"},  # values only: whatever refuses names the step that helps
    {"check", "files", "progress", "translation"},
    {"tool", "artefact"},
    {"secret", "ssh"},
    {"params"},
    {"disk"},
    {"xen"},
    {"guest"},
    {"rehearsal"},
    {"vsphere"},
    {"network"},
    {"figures"},
    {"approval"},
    {"sitefolder"},
    {"run"},
    {"record"},
    {"report"},
    {"fleet"},
    {"steps"},
    {"show"},
    {"jupyter"},
    {"cli"},
]
LEVEL = {name: n for n, names in enumerate(ORDER) for name in names}


@functools.cache
def parsed(path: Path) -> ast.Module:
    """What a file of the source says; it stays as it is meanwhile."""
    return ast.parse(path.read_text())


def noun(path: Path) -> str:
    return _noun(*path.relative_to(LIB).with_suffix("").parts)


def _noun(room: str, *within: str) -> str:
    return "run.step" if (room, *within[:1]) == ("run", "step") else room


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module == "hikkoshi":
            found |= {_noun(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hikkoshi."):
            found |= {_noun(*str(node.module).split(".")[1:], alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {_noun(*a.name.split(".")[1:]) for a in node.names if a.name.startswith("hikkoshi.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(LIB)))
def test_imports_go_one_way(path: Path) -> None:
    own = noun(path)
    if own == "__init__":
        return
    for other in imported(path) - {own}:
        assert LEVEL[other] < LEVEL[own], f"{own} imports {other}"


def test_the_top_level_holds_these_rooms_and_the_ground_they_stand_on() -> None:
    assert {noun(p) for p in MODULES} == {"__init__", *LEVEL}


def test_only_their_registry_knows_the_ids_of_the_steps() -> None:
    """And the words of a remedy with them: what a step is called is changed in one place. Docstrings may name one."""
    known = re.compile(r"\b(" + "|".join(STEPS) + r")\b")
    for path in [*MODULES, *sorted(LAB.rglob("*.py"))]:
        tree = parsed(path)
        told = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        texts = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        literals = [f"{path}:{n.lineno}: {n.value}" for n in texts if id(n) not in told and known.search(n.value)]
        assert not literals or noun(path) == "run.step", literals
    runbooks = LIB / "record" / "engine" / "locale"  # each leads to the next one
    for page in [*LIB.rglob("*.j2"), *(p for p in LIB.rglob("*.po") if not p.is_relative_to(runbooks))]:
        assert not known.search(page.read_text()), page


def test_the_product_does_not_know_its_lab() -> None:
    assert not [str(p) for p in MODULES if "hikkoshi_lab" in p.read_text()]


def test_only_show_knows_ipython() -> None:
    users = {noun(p) for p in MODULES if re.search(r"^\s*(from|import) (IPython|ipywidgets)", p.read_text(), re.M)}
    assert users == {"show"}


@pytest.mark.parametrize("path", [*MODULES, *sorted(LAB.rglob("*.py"))], ids=lambda p: str(p.relative_to(LIB.parent)))
def test_a_module_is_a_noun_of_at_most_400_lines(path: Path) -> None:
    assert path.read_text().count("\n") <= 400
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def test_a_folder_holds_at_most_20_modules() -> None:
    inside = Counter(p.parent for p in [*MODULES, *LAB.rglob("*.py")] if p.stem != "__init__")
    assert {str(folder) for folder, modules in inside.items() if modules > 20} == set()


def test_a_public_class_has_a_name_of_its_own() -> None:
    places: dict[str, list[str]] = {}
    for path in [*MODULES, *LAB.rglob("*.py")]:
        for found in ast.walk(parsed(path)):
            if isinstance(found, ast.ClassDef) and not found.name.startswith("_"):
                places.setdefault(found.name, []).append(str(path.relative_to(LIB.parent)))
    assert not {name: where for name, where in places.items() if len(where) > 1}


@pytest.fixture(scope="module")
def wanted() -> dict[str, str]:
    """{package: version range} as pyproject.toml has them."""
    with (PROJECT / "pyproject.toml").open("rb") as f:
        project = tomllib.load(f)["project"]
    return dict(re.match(r"([\w.-]+)(.*)", d).groups() for d in project["dependencies"])  # type: ignore[union-attr, misc]


@pytest.fixture(scope="module")
def conda() -> tuple[dict[str, str], dict[str, str]]:
    """({package: range} of the conda part, {package: range} of the pip part) of environment.yml."""
    document = YAML(typ="safe").load(PROJECT / "environment.yml")
    assert document["channels"] == ["conda-forge", "nodefaults"]
    specs = [d for d in document["dependencies"] if isinstance(d, str)]
    pip = next(d["pip"] for d in document["dependencies"] if isinstance(d, dict))
    for spec in specs:
        assert re.fullmatch(r"[a-z0-9._-]+( [<>=!,.0-9]+)?", spec), spec
        MatchSpec(spec)
    by_name = {s.split(" ")[0]: s.partition(" ")[2] for s in specs}
    own = dict(re.match(r"([\w.-]+)(.*)", d).groups() for d in pip if not d.startswith("-e"))  # type: ignore[union-attr, misc]
    assert "-e ." in pip
    return by_name, own


def test_conda_and_pip_users_get_the_same_packages_in_the_same_ranges(
    wanted: dict[str, str], conda: tuple[dict[str, str], dict[str, str]]
) -> None:
    by_name, own = conda
    there = {("matplotlib" if k == "matplotlib-base" else k): v for k, v in {**by_name, **own}.items()}
    assert there.pop("python") == ">=3.11"
    there.pop("pip")
    assert there == wanted


def test_every_range_of_the_conda_environment_contains_the_version_installed(
    conda: tuple[dict[str, str], dict[str, str]],
) -> None:
    for name, wish in conda[0].items():
        if wish and name not in ("python", "pip"):
            installed = metadata.version("matplotlib" if name == "matplotlib-base" else name)
            assert VersionSpec(str(MatchSpec(f"{name} {wish}").version)).matches(Version(installed)), (name, installed)


def test_the_lock_file_holds_every_package_with_version_and_hash_and_no_address(wanted: dict[str, str]) -> None:
    lock = (PROJECT / "requirements.lock").read_text()
    pinned = dict(re.findall(r"^([a-z0-9._-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}", lock, re.M))
    assert {re.sub(r"[._]", "-", k) for k in wanted} <= {re.sub(r"[._]", "-", k) for k in pinned}
    assert re.sub(r"[._]", "-", "pytest") in pinned
    assert not re.search(r"[a-z]+://|^-i |--index", lock)
    for name, version in pinned.items():
        assert metadata.version(name) == version, f"{name}: run make setup"


OWN_PROGRAMS = {"guest/worker.py", "network/outage/meter.py"}  # they speak to us by pipes, not to a person


def test_the_command_line_prints_in_one_place() -> None:
    """By `terminal.say`, which lets nothing pass that a terminal would obey."""
    for path in MODULES:
        own = str(path.relative_to(LIB))
        calls = [n.func for n in ast.walk(parsed(path)) if isinstance(n, ast.Call)]
        printing = any(isinstance(f, ast.Name) and f.id == "print" for f in calls)
        allowed = own in {"cli/terminal.py", *OWN_PROGRAMS}
        assert not printing or allowed, f"{own} prints: let terminal.say do it"


def test_a_file_of_a_guest_has_its_name_in_one_place() -> None:
    names = {text for name in vars(GuestFolder) if isinstance(text := getattr(GuestFolder, name), str) and name[0] != "_"}
    assert {"journal.jsonl", "disk"} < names
    for path in set(MODULES) - {LIB / "params" / "folder.py"}:
        tree = list(ast.walk(parsed(path)))
        files = {n.value for n in tree if isinstance(n, ast.Constant) and "." in str(n.value)}
        joined = {getattr(n.right, "value", "") for n in tree if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div)}
        assert not (files | joined) & names, f"{path.relative_to(LIB)}: let GuestFolder tell"


SENTENCES = {"what", "title", "found", "expected", "remedy", "error", "flaw", "why", "words", "message"}
PARSING = {"startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "split", "find", "index", "count"}
PATTERNS = {"match", "fullmatch", "search", "findall", "sub"}
READS_SENTENCES = {  # {module: why}
    "run/earlier.py": "journals of earlier versions tell some things in words alone",
    "record/approvals.py": "the row of an action is the one with the title that its start has",
    "guest/note.py": "results of earlier versions keep what is to be known of a guest in words alone",
    "record/seal.py": "why a run was not sealed is not written twice in a row",
}


def sentence(node: ast.expr, caught: set[str]) -> bool:
    """Whether this is a sentence that was made already: of a check, a problem, a line of the journal, or an error as a text."""
    match node:
        case ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            return name in SENTENCES
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(name)), *_]):
            return name in SENTENCES
        case ast.Call(func=ast.Name(id="str"), args=[inner]):
            return (isinstance(inner, ast.Name) and inner.id in caught) or sentence(inner, caught)
        case ast.Subscript(value=ast.Call(func=ast.Attribute(value=inner))):
            return sentence(inner, caught)
        case ast.Name(id=name):
            return name in {"title", "sentence"}
    return False


def decided_by_sentences(tree: ast.Module) -> Iterator[str]:
    """Where a finished sentence is compared, taken apart, or held against a pattern. Its first line may be shown."""
    caught = {n.name for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n.name}
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, comparators=others):
                sides = [left, *others]
                empty = any(isinstance(s, ast.Constant) and s.value in ("", None) for s in sides)
                bad = any(sentence(s, caught) for s in sides) and not empty
            case ast.Call(func=ast.Attribute(value=value, attr=attr), args=[ast.Constant(value="\n")]):
                bad = False
            case ast.Call(func=ast.Attribute(value=value, attr=attr), args=args):
                bad = (attr in PARSING and sentence(value, caught)) or (
                    attr in PATTERNS and any(sentence(a, caught) for a in args)
                )
            case _:
                bad = False
        if bad:
            yield ast.unparse(node)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(LIB)))
def test_nothing_is_decided_by_a_finished_sentence(path: Path) -> None:
    found = list(decided_by_sentences(parsed(path)))
    assert bool(found) == (str(path.relative_to(LIB)) in READS_SENTENCES), found


@pytest.mark.parametrize(
    "old",
    [
        'slow = "regressed" in last.error',
        'return [r for r in found if not r.error.startswith("Busy")]',
        "alone = [p for p in problems if p.what == UNSIGNED]",
        'ok = str(line.get("found", "")).startswith(("Refused:", "BadInput:"))',
        'if tried["title"] == SIGNS: pass',
        'return title.partition(": ")[2].startswith(("the guest", "nor"))',
        "return pattern.fullmatch(sentence)",
        'try: read()\nexcept BadInput as e:\n    if "terms: Field required" in str(e): raise',
    ],
)
def test_such_a_decision_is_seen(old: str) -> None:
    assert list(decided_by_sentences(ast.parse(old.replace("return ", "x = "))))
