"""What bash, zsh and fish complete, with the scripts that the command itself gives them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hikkoshi.params.home import Home
from hikkoshi.run.step import STEPS
from processes import without_a_process as hikkoshi

ASKED = {  # {shell: what it asks by, for the words until the cursor}
    "bash": lambda words: {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))},
    "zsh": lambda words: {"_TYPER_COMPLETE_ARGS": words},
    "fish": lambda words: {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


@pytest.fixture(autouse=True)
def by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is started as `hikkoshi`, and not as a part of whatever package these tests were started as."""
    monkeypatch.setattr(sys.modules["__main__"], "__package__", None)


def asked(home: Home, words: str, shell: str = "bash") -> "subprocess.CompletedProcess[str]":
    return hikkoshi(home, _HIKKOSHI_COMPLETE=f"complete_{shell}", **ASKED[shell](words))


@pytest.mark.parametrize("shell", ASKED)
def test_the_guests_of_the_folder_are_completed_in_each_shell(home: Home, shell: str) -> None:
    told = asked(home, "hikkoshi run g", shell)
    assert ("gateway" in told.stdout, "idp" in told.stdout, told.stderr) == (True, False, "")


@pytest.mark.parametrize(
    "command", ["run", "approve", "status", "undo-remedy", "host-offloads", "handover", "confirm-off", "machines", "bundle"]
)
def test_every_command_that_takes_a_guest_completes_its_name(home: Home, command: str) -> None:
    assert asked(home, f"hikkoshi {command} ").stdout.split() == ["gateway", "idp"]


@pytest.mark.parametrize("option", ["--from", "--through", "--only"])
def test_a_step_is_completed_by_its_number(home: Home, option: str) -> None:
    assert asked(home, f"hikkoshi run idp {option} ").stdout.split() == list(STEPS)
    assert asked(home, f"hikkoshi run idp {option} 7").stdout.split() == ["70-cutover", "75-rollback"]


def test_where_the_parameters_are_wrong_the_names_are_completed_and_nothing_is_told(home: Home) -> None:
    home.site_file.write_text("vsphere: [\n")
    home.guest_file("idp").write_text("name: {\n")
    told = asked(home, "hikkoshi run ")
    assert (told.stdout.split(), told.stderr, told.returncode) == (["gateway", "idp"], "", 0)


def test_where_there_are_no_parameters_nothing_is_completed_and_nothing_is_told(tmp_path: Path) -> None:
    told = asked(Home(tmp_path), "hikkoshi run ")
    assert (told.stdout.split(), told.stderr, told.returncode) == ([], "", 0)


def test_in_a_folder_that_is_gone_nothing_is_completed_and_nothing_is_told(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    told = hikkoshi(home, HIKKOSHI_HOME="", _HIKKOSHI_COMPLETE="complete_bash", **ASKED["bash"]("hikkoshi run "))
    assert (told.stdout.split(), told.stderr, told.returncode) == ([], "", 0)


def test_bash_completes_with_the_script_that_the_command_gives_it(home: Home) -> None:
    """As a person has it: the script is read, then the Tab key asks for the word that has been begun."""
    asks = "complete -p hikkoshi >/dev/null && COMP_WORDS=(hikkoshi run g) COMP_CWORD=2 && _hikkoshi_completion hikkoshi"
    tried = subprocess.run(
        ["bash", "--norc", "-c", f'eval "$(hikkoshi --show-completion)"; {asks}; printf "%s\\n" "${{COMPREPLY[@]}}"'],
        env={**os.environ, "HIKKOSHI_HOME": str(home.root), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (tried.stdout.split(), tried.stderr) == (["gateway"], "")
