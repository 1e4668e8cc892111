"""The kinds of Dom-0 in params/site.yml, and what the answers of one over ssh say; a real one is asked in tests/system."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0
from hikkoshi.xen.reach import script
from hikkoshi.xen.reach.kinds import reached
from hikkoshi.xen.reach.local import LocalDom0
from hikkoshi.xen.reach.mounted import MountedDom0
from hikkoshi.xen.reach.remote import RemoteDom0
from hikkoshi.xen.reach.script import Files

MARK = "hikkoshi-0123"
SHELLS = [shell for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])]


@pytest.mark.parametrize(
    ("written", "kind", "told"),
    [
        ({}, "here", "/"),
        ({"root": "/"}, "here", "/"),
        ({"root": "//"}, "here", "//"),
        ({"root": "/mnt/dom0"}, "folder", "/mnt/dom0"),
        ({"root": "outputs/lab/dom0"}, "folder", "outputs/lab/dom0"),
        ({"ssh": "xenhost"}, "ssh", "ssh://xenhost"),
        ({"ssh": "root@xenhost.example.org:2222"}, "ssh", "ssh://root@xenhost.example.org:2222"),
    ],
)
def test_a_dom0_is_here_a_folder_or_over_ssh(written: dict[str, str], kind: str, told: str) -> None:
    dom0 = Dom0.model_validate(written)
    assert (dom0.kind, str(dom0)) == (kind, told)


@pytest.mark.parametrize(
    "written",
    [
        *({"root": root} for root in ("ssh://xenhost", "root@xenhost:/", "xenhost:/srv", "ssh:xenhost", "http://x/", "", ".")),
        *({"ssh": ssh} for ssh in ("", "-oProxyCommand=id", "root@-l", "-l@xenhost", "ssh://xenhost", "a b", "$(id)", "x:0")),
        *({"ssh": ssh} for ssh in ("x:99999", "x:ssh", "root:secret@x", "2001:db8::5", "x/srv", "x\n", "x\ny", "@x", "x:", "ü")),
        {"root": "/", "ssh": "xenhost"},
    ],
)
def test_what_is_no_dom0_is_refused(written: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Dom0.model_validate(written)


def test_an_address_in_the_place_of_a_folder_is_told_with_the_right_key(home: Home) -> None:
    path = home.root / "params/site.yml"
    path.write_text(path.read_text().replace("root: outputs/lab/dom0", "root: ssh://xenhost"))
    with pytest.raises(Exception, match=r"for a Dom-0 over ssh write ssh: \[user@\]host\[:port\]"):
        home.site()


def test_each_kind_is_reached_in_its_way(home: Home) -> None:
    (home.root / "mnt").mkdir()
    kinds = {LocalDom0: {}, MountedDom0: {"root": "mnt"}, RemoteDom0: {"ssh": "xenhost"}}
    for kind, written in kinds.items():
        assert type(reached(home, Dom0.model_validate(written))) is kind


def asked(text: str, shell: list[str]) -> bytes:
    """What a shell answers to a question, as the connection puts it."""
    whole = f"m={MARK}\nnl='\n'\n{text}"
    return subprocess.run([*shell, "-s"], input=whole.encode(), capture_output=True, check=True).stdout


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
def test_files_come_as_they_are_and_with_what_they_are(tmp_path: Path, shell: list[str]) -> None:
    odd = 'it\'s $HOME `id` "a" \\n'
    (tmp_path / "d/below/deep").mkdir(parents=True)
    (tmp_path / "d" / odd).write_bytes(b"\0\1\n\n" + bytes(range(256)))
    (tmp_path / "d/.hidden").write_text("x")
    (tmp_path / "d/below/script").write_text("#!/bin/sh\n")
    (tmp_path / "d/below/deep/not").write_text("x")
    (tmp_path / "d/link").symlink_to("below/script")
    (tmp_path / "d/gone").symlink_to("nowhere")
    (tmp_path / "d/empty").touch()
    (tmp_path / "d/large").write_bytes(b"x" * 30)
    files = Files()
    folder, elf = str(tmp_path / "d"), str(tmp_path / "elf")
    Path(elf).write_bytes(b"\x7fELF")
    text = script.look(["/nowhere/at/all"], [elf, f"{folder}/below/script"], [(folder, 1)], largest=20)
    files.add(asked(text, shell), MARK, 20)
    assert sorted(files.listed[folder]) == sorted(["below", "link", "gone", "empty", "large", odd])
    assert sorted(files.listed[f"{folder}/below"]) == ["deep", "script"]
    kinds = {name: files.items[f"{folder}/{name}"].kind for name in ("below", "link", "gone", "empty", odd)}
    assert kinds == {"below": "folder", "link": "file", "gone": "nothing", "empty": "file", odd: "file"}
    assert files.items[f"{folder}/link"].real == f"{folder}/below/script"
    assert files.items[f"{folder}/empty"].content == b""
    assert files.items[f"{folder}/{odd}"].content == (b"\0\1\n\n" + bytes(range(256)))[:21]
    assert (files.items[f"{folder}/large"].whole, files.items[f"{folder}/link"].whole) == (False, True)
    assert (files.items[elf].script, files.items[elf].content) == (False, None)
    assert files.file(files.items[f"{folder}/link"]).content == b"#!/bin/sh\n"
    assert files.unread() == []
    assert files.items["/nowhere/at/all"].kind == "nothing"
    assert f"{folder}/below/deep/not" not in files.items


def test_a_folder_with_a_name_of_several_lines_in_it_is_not_known_whole(tmp_path: Path) -> None:
    (tmp_path / "a\nb").write_text("x")
    files = Files()
    files.add(asked(script.look(folders=[(str(tmp_path), 0)]), ["sh"]), MARK)
    assert files.untold == {str(tmp_path)}


def test_a_folder_by_two_names_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/unit").write_text("x")
    (tmp_path / "usr").symlink_to("lib")
    files, (first, second) = Files(), (str(tmp_path / "lib"), str(tmp_path / "usr"))
    told = asked(script.look(folders=[(first, 0), (second, 0)]), ["sh"])
    files.add(told, MARK)
    assert files.listed == {first: ["unit"], second: ["unit"]}
    assert files.items[f"{second}/unit"].content == b"x"
    assert told.count(b"unit\n") == 3  # once with where it is, once with how long it is


def test_what_links_lead_to_and_programs_that_are_texts_come_together(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/link").symlink_to("../far")
    (tmp_path / "far").write_text("far away")
    (tmp_path / "program").write_text("#!/bin/sh\nexit")
    files, program = Files(), str(tmp_path / "program")
    files.add(asked(script.look((), [program, "/nowhere"], [(str(tmp_path / "d"), 0)]), ["sh"]), MARK)
    assert files.unread() == [str(tmp_path / "far"), program]
    files.add(asked(script.many(files.unread()), ["sh"]), MARK)
    assert files.unread() == []
    assert files.file(files.items[str(tmp_path / "d/link")]).content == b"far away"
    assert files.items[program].content == b"#!/bin/sh\nexit"


def test_where_readlink_takes_one_path_links_are_followed_one_by_one(tmp_path: Path) -> None:
    """As before coreutils 8.13."""
    for name in "ab":
        (tmp_path / name).symlink_to("far")
    (tmp_path / "far").touch()
    old = 'readlink() { test $# = 2 || return 1; command readlink "$@"; }\n'
    files = Files()
    files.add(asked(old + script.look(folders=[(str(tmp_path), 0)]), ["sh"]), MARK)
    assert {files.items[str(tmp_path / name)].real for name in "ab"} == {str(tmp_path / "far")}


def test_a_link_that_leads_to_a_name_of_several_lines_makes_its_folder_not_known_whole(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/link").symlink_to("../a\nb")
    (tmp_path / "a\nb").write_text("x")
    files = Files()
    files.add(asked(script.look(folders=[(str(tmp_path / "d"), 0)]), ["sh"]), MARK)
    assert files.untold == {str(tmp_path / "d")}


def test_contents_that_are_not_as_long_as_was_told_are_not_believed() -> None:
    """One that was written to in this moment."""
    files = Files()
    files.add(answer("file no\n/a\n/a\n", "holds 9\n/\n\n/a\n2\n", "bytes no\n/\n\nabc"), MARK)
    assert files.items["/a"].content is None
    files.add(answer("holds 9\n/\n\n/a\n3\n", "bytes no\n/\n\nabc"), MARK)
    assert files.items["/a"].content == b"abc"


def answer(*pieces: str) -> bytes:
    return "".join(f"\n{MARK} {piece}" for piece in pieces).encode()


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (b"Welcome" + answer("file no\n/a\n/a\n"), "words that belong to nothing"),
        (answer("file yes\n/a\n/a\nabc"), "no end of /a"),
        (answer("file yes\n/a\n/a\nabc", "end x\n"), "no end of /a"),
        (answer("file yes\n/a\n/a\nabc", "file no\n/b\n/b\n"), "no end of /a"),
        (answer("file no\n/a\n/a\nabc"), "a content that /a has not"),
        (answer("file no\n/a"), "a line that is cut off"),
        (answer("file no\na\n/a\n"), "no path"),
        (answer("file no\n/a\nrelative\n"), "no path"),
        (answer("sofa no\n/a\n/a\n"), "a path that is 'sofa'"),
        (answer("end 0\n"), "a line that is cut off"),
        (answer("holds 9\n/\n\n/a\n3\n"), "a line that is cut off"),
        (answer("again no\n/a\n/b\n"), "no folder that is /a, too"),
        (b"\n", "words that belong to nothing"),
        (b"\0" * 100, "words that belong to nothing"),
    ],
)
def test_an_answer_of_another_form_is_none(told: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Files().add(told, MARK)


def test_a_file_that_could_not_be_read_to_its_end_is_not_known() -> None:
    files = Files()
    files.add(answer("file yes\n/a\n/a\nabc", "end 1\n"), MARK)
    assert files.items["/a"].kind == "denied"


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_whatever_is_answered_is_an_answer_or_none(told: bytes) -> None:
    try:
        Files().add(f"\n{MARK} ".encode() + told, MARK)
        script.marked(told.decode(errors="replace"), 1)
    except ValueError:
        pass


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
def test_a_disk_is_known_by_its_file_and_by_its_device(tmp_path: Path, shell: list[str]) -> None:
    (tmp_path / "a b").touch()
    (tmp_path / "link").symlink_to("a b")
    paths = [str(tmp_path / "a b"), str(tmp_path / "link"), "/nowhere", "/dev/null"]
    file, link, gone, null = script.marked(asked(script.marks(paths), shell).decode(), 4)
    assert file == link == {f"file {(tmp_path / 'a b').stat().st_dev}:{(tmp_path / 'a b').stat().st_ino}"}
    assert (gone, len(null)) == (set(), 1)  # a character device is no disk


@pytest.mark.parametrize("told", ["", "0|x\n", "1||\n", "0||\n0||\n", "0|block|1:2|8:1|\nx\n", "0|block|1:2|8:1|$(id)\n"])
def test_an_answer_about_disks_of_another_form_is_none(told: str) -> None:
    with pytest.raises(ValueError, match="disk"):
        script.marked(told, 1)
