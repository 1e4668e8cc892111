"""Configurations with code in them: what sets nothing that is read is passed over, and every other line is told, once."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.errors import BadInput, Problem
from hikkoshi.xen import config
from hikkoshi.xen.config import XenGuest, parse

DATA = Path(__file__).parents[1] / "data" / "xen"
MINIMAL = "name = 'a'\nmemory = 64\ndisk = [ 'file:/a.img,xvda,w' ]\n"


def problems(text: str) -> dict[int, Problem]:
    """{line: what is told of it}, each line once."""
    with pytest.raises(BadInput) as e:
        parse(text, "F")
    lines = [int(p.where.partition(":")[2] or 0) for p in e.value.problems]
    assert sorted(set(lines)) == lines
    return dict(zip(lines, e.value.problems, strict=True))


def from_file(name: str) -> dict[int, Problem]:
    return problems((DATA / name).read_text())


def test_a_template_is_told_by_its_code_and_not_by_the_lines_that_use_its_variable() -> None:
    told = from_file("xm-template-with-vmid.xm")
    assert [*told] == [4, 10, 13]
    assert all("`xm create -n FILE vmid=VALUE`" in p.remedy for p in told.values())
    assert "needs quotes" not in str([*told.values()])


def test_a_variable_that_nobody_declares_is_told_once_and_with_what_xm_has_to_be_given() -> None:
    told = problems("memory = 64\nname = 'w%d' % vmid\ndisk = [ 'phy:vg/w%d,xvda,w' % vmid ]\nextra = 'N=' + str(vmid)\n")
    assert [*told] == [2, 4]
    assert "the name vmid, which has no value in this file" in told[2].found
    assert "vmid=VALUE" in told[2].remedy


def test_python_2_is_told_for_what_it_is_every_line_at_once() -> None:
    told = from_file("xm-python2-print.xm")
    assert [*told] == [1, 2, 4, 5]
    assert all(p.code == "xen-line-is-code" and "xm create -n" in p.remedy for p in told.values())
    assert ["print statement of Python 2" in told[2].found, "long number" in told[4].found, "octal" in told[5].found] == [
        True
    ] * 3


def test_a_missing_quote_and_an_empty_item_are_told_each_for_its_own_cause() -> None:
    told = from_file("xm-python2-comma.xm")
    assert [*told] == [1, 5]
    assert ("a text needs quotes" in told[1].found, told[1].remedy) == (True, "write it in quotes")
    assert told[5].code == "xen-line-unknown"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("memory = 0x200L", "long number"),
        ("kernel = `path`", "backticks"),
        ("if 1 <> 2: memory = 5", "<> for !="),
        ("exec 'memory = 5'", "an exec statement"),
        ("try:\n    memory = f()\nexcept IOError, e:\n    pass", "an exception in Python 2's form"),
        ("extra = ur'x'", "a text of Python 2"),
        ("raise ValueError, 'no'", "an exception in Python 2's form"),
        ("def check(val):\n    if val < 0:\n        print 'too small'\n", "print statement"),
    ],
)
def test_other_syntax_of_python_2_is_named(line: str, words: str) -> None:
    assert words in str([*problems(f"{MINIMAL}{line}\n").values()])


def test_text_in_quotes_and_comments_is_no_python_2() -> None:
    assert problems(MINIMAL + "x = 'print 0755L <> `'  # print 512L\nmemory = (\n")[5].code == "xen-line-unknown"


@pytest.mark.parametrize(
    "code",
    [
        "import os, re",
        "import os\nif os.uname()[4] == 'x86_64':\n    device_model = '/usr/lib64/x'\nelse:\n    device_model = '/usr/lib/x'",
        "try:\n    import site_defaults\nexcept ImportError:\n    pass",
        "def log(text):\n    return 'x' + text\nlog('a')",
        "from socket import gethostname\nwhere = gethostname()",
        "vnc = 1 if True else 0",
        "keymap = {'a': 'ja'}['a']",
        "on_crash = 'preserve' if 1 else 'restart'",
        "for n in range(3):\n    print(n)",
        "print 'starting', name",
        "print >>sys.stderr, name",
        "os.environ['LANG'] = 'C'",
        "stamp = '%s' % f(1)\nf = lambda x: x",
        "xm_vars.var('vmid', use='a number', check=int)\nxm_vars.check()",
        "mode = 0755",
        "notes = []\nnotes.append('x')",
    ],
)
def test_code_that_sets_nothing_that_is_read_is_passed_over_and_shown(code: str) -> None:
    if "f = lambda" in code:  # what `f` is cannot be told at its call
        assert problems(MINIMAL + code)
        return
    plain, guest = parse(MINIMAL, "F"), parse(MINIMAL + code, "F")
    assert guest.passed
    assert guest.model_copy(update={"passed": (), "other": {}}) == plain
    rows = config.rest(guest)
    assert sum(row["why"] == "code that sets nothing that is read" for row in rows) == len(guest.passed)
    assert parse(code + "\n" + MINIMAL, "F").model_copy(update={"passed": (), "other": {}}) == plain


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import memory", 4),
        ("from settings import *", 4),
        ("if 1:\n    memory = 128", 4),
        ("disk.append('file:/b.img,xvdb,w')", 4),
        ("disks = disk\ndisks.append('file:/b.img,xvdb,w')", 5),
        ("x = [disk]\nx[0].append('file:/b.img,xvdb,w')", 5),
        ("def add(d):\n    disk.append(d)\n", 4),
        ("def more():\n    global memory\n    memory = 5\n", 4),
        ("add = lambda d: disk.append(d)\n", 4),
        ("map(disk.append, ['file:/b.img,xvdb,w'])", 4),
        ("globals()['memory'] = 5", 4),
        ("vars().update(memory=5)", 4),
        ("exec('memory = 5')", 4),
        ("execfile('/etc/xen/common')", 4),
        ("del memory", 4),
        ("for memory in range(3): pass", 4),
        ("with open('x') as kernel: pass", 4),
        ("import sys\nsys._getframe().f_globals['memory'] = 5", 4),
        ("[memory for memory in range(5)]", 4),
        ("(memory := 5)", 4),
        ("class disk: pass", 4),
        ("def vif(): pass", 4),
        ("xm_vars.var('memory', default=512)", 4),
        ("import os\nvif = os.environ['NICS']", 4),
        ("base = f()\nkernel = base", 4),
        ("x = 'a'\nif 1:\n    x = 'b'\nkernel = x", 5),
        ("setattr(x, 'memory', 5)", 4),
        ("import sys\nsys.modules['__main__'].memory = 5", 5),
        ("import __main__\n__main__.disk = []", 5),
        ("pci = [ d for d in devices ]", 4),
    ],
)
def test_code_that_may_change_what_is_read_is_told(code: str, line: int) -> None:
    assert line in problems(MINIMAL + code)


def test_who_adds_to_a_list_adds_to_every_name_of_it_as_in_python() -> None:
    text = "name = 'a'\nmemory = 64\ndisk = [ 'file:/a,xvda,w' ]\nall = disk\nall += [ 'file:/b,xvdb,w' ]\nvif = [ '' ]\n"
    assert [d.vdev for d in parse(text, "F").disks] == ["xvda", "xvdb"]
    assert [d.vdev for d in parse(text.replace("all +=", "all = all +"), "F").disks] == ["xvda"]


def test_an_entry_of_a_list_over_many_lines_is_told_at_its_own_line() -> None:
    text = "name = 'a'\nmemory = 64\ndisk = [\n  'file:/a,xvda,w',\n\n  'file:/b,xvdb,q',\n  'x',\n]\nvif = [ '',\n  'xenbr0' ]\n"
    assert [*problems(text)] == [6, 7, 10]
    code = "name = 'a'\nmemory = 64\ndisk = [\n  'file:/a,xvda,w',\n  f('b'),\n  g('c'), h('d'),\n]\n"
    assert [*problems(code)] == [5, 6]
    assert [*problems("name = 'a'\nmemory = 64\ndisk = [ 'file:/a,xvda,w' ]\ndisk += [\n  'x' ]\n")] == [5]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("name = 'a\nmemory = x y\nvcpus = 2\ndisk = [ 'a b\n", [1, 2, 4]),
        ("name = 'a'\ndisk = [ 'file:/a,xvda,w'\nmemory = 64 MB\nvif = [ '' ]\n", [2, 3]),
        ("  name = 'a'\n  memory = 64 64\n\tvcpus = 0\n", [2]),
        ("name = 'a';; memory = 64\nkernel = (\n", [1, 2]),
        ('name = "a"\n"""\nmemory = 64\n', [2]),
        ("if x:\n    name = 'a'\n  memory = 5\nvcpus = = 2\n", [3, 4]),
    ],
)
def test_every_bad_line_is_told_once_and_at_its_own_line(text: str, lines: list[int]) -> None:
    told = [*problems(text)]
    assert told[: len(lines)] == lines or set(lines) <= set(told)


def test_bytes_that_are_no_utf_8_do_harm_only_where_they_are_part_of_what_is_read() -> None:
    assert "no UTF-8" in problems("name = 'a'\nmemory = 64\ndisk = [\n  'file:/srv/\ufffd.img,xvda,w' ]\n")[4].found
    assert parse(MINIMAL + "description = 'B\ufffdro'", "F").other["description"] == "B\ufffdro"


ENCODINGS = ["utf-8", "latin-1", "euc-jp", "shift-jis", "iso2022_jp", "cp1252", "koi8-r", "utf-7", "big5"]
NOTE = {"latin-1": "Für den Büro-Rechner\x85 memory = 1", "cp1252": "„Büro“ …", "koi8-r": "почта", "big5": "表功能"}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_comment_in_any_encoding_changes_nothing_that_is_read(encoding: str) -> None:
    note = NOTE.get(encoding, "表示用のゲスト。ソース能力")
    lines = [f"# {note}", f"#coding: {encoding}", *MINIMAL.splitlines()]
    lines = [line if line.startswith("#") else f"{line} # {note}\\" for line in lines]
    raw = "\n".join(lines).encode(encoding) + b"\n# \x0c\x0b\x1c\x1d\x1e\xe2\x80\xa8memory = 1\n# \xc2\x85 vcpus = 9\n"
    assert parse(raw.decode("utf-8", errors="replace"), "F") == parse(MINIMAL, "F")
    assert parse(raw.decode("utf-8", errors="replace").replace("\n", "\r\n"), "F") == parse(MINIMAL, "F")


COMMENTS = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"), max_size=20)


@settings(max_examples=60, deadline=None)
@given(st.lists(COMMENTS, min_size=4, max_size=4), st.sampled_from(["", " ", "\t"]), st.permutations(range(3)), st.booleans())
def test_comments_blanks_order_and_quotes_change_nothing_that_is_read(
    comments: list[str], blank: str, order: list[int], double: bool
) -> None:
    lines = ["name = 'a'", "memory = 64", "disk = [ 'file:/a.img,xvda,w' ]"]
    text = "".join(f"{lines[n].replace(' ', blank)}{blank}#{comments[n]}\n" for n in order) + f"# {comments[3]}"
    assert parse(text.replace("'", '"') if double and "'" not in "".join(comments) else text, "F") == parse(MINIMAL, "F")


KEYS = ["x", "memory", "disk", "y", "keymap"]
VALUES = [
    "'a'",
    "64",
    "f()",
    "x",
    "y",
    "[ x ]",
    "disk",
    "os.getcwd()",
    "memory",
    "'%s' % x",
    "('file:/c,xvdc,w',)",
    "[ 'file:/a.img,xvda,w' ]",
]
STATEMENTS = [*(f"{k} = {v}" for k in KEYS for v in VALUES), "import os", "x = y", "x += y", "y.append(1)", "disk += [ x ]"]


def really(text: str) -> dict[str, object]:
    """What Python itself makes of a text; a test may execute what it has written itself."""
    names: dict[str, object] = {"f": lambda: "a"}
    exec(compile(text, "test", "exec"), names)
    return names


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(STATEMENTS), max_size=6))
def test_what_is_read_beside_code_is_what_python_would_make_of_it(statements: list[str]) -> None:
    text = MINIMAL + "\n".join(statements) + "\n"
    try:
        names = really(text)
    except Exception:  # Xen could not start such a guest either
        return
    try:
        guest: XenGuest = parse(text, "F")
    except BadInput:
        return
    assert guest.memory_mb == int(str(names["memory"]))
    entries = names["disk"] if isinstance(names["disk"], list | tuple) else [names["disk"]]
    assert [d.target for d in guest.disks] == [str(entry).split(",")[0].removeprefix("file:") for entry in entries]


def test_many_pieces_of_code_and_long_lists_take_no_time() -> None:
    text = MINIMAL + "".join(f"x{n} = disk\n" for n in range(1000)) + "f(x1)\n" * 1000
    assert problems(text)
    assert problems("[" * 20000)
    assert problems("'''" + "x\n" * 1000)
    assert problems('"' * 60000 + "\n" + "x = (\n" * 3000)


def test_no_module_that_is_named_is_imported() -> None:
    parse(MINIMAL + "import this, antigravity\n", "F")
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "code",
    [
        "match 3:\n  case vcpus: pass\n",
        "match [1, 2]:\n  case [*disk]: pass\n",
        "match {}:\n  case {**extra}: pass\n",
        "match [1]:\n  case [vcpus]: pass\n",
        "x = [vcpus := 4]\n",
        "with open('x') as memory: pass\n",
    ],
)
def test_whatever_binds_a_setting_is_never_passed_over(code: str) -> None:
    with pytest.raises(BadInput) as e:
        parse(f"name = 'w'\nmemory = 64\ndisk = []\n{code}", "F")
    assert e.value.problems[0].code == "xen-line-is-code"
