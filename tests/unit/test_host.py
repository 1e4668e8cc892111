"""Where a measurement's commands run."""

from pathlib import Path

import pytest

from hikkoshi.errors import BadInput, ToolFailed
from hikkoshi.network import host


def test_here_a_command_runs_as_it_is() -> None:
    assert host.parse("here").run(["echo", "a b"]).stdout == "a b\n"


def test_a_script_comes_through_the_shells_standard_input_and_finds_programs_of_the_administrator() -> None:
    assert "/usr/sbin" in host.HERE.script("echo $PATH")


def test_over_ssh_every_word_of_a_command_reaches_the_other_side_as_one() -> None:
    command = host.parse("ssh://root@gateway:2222").argv(["echo", "a b", "$HOME"])
    assert command[-2:] == ["root@gateway", "echo 'a b' '$HOME'"]
    assert command[command.index("-p") + 1] == "2222"


def test_an_address_may_name_its_own_ssh_config(tmp_path: Path) -> None:
    command = host.parse("ssh://gateway?config=lab/ssh_config", tmp_path).argv(["true"])
    assert command[command.index("-F") + 1] == str(tmp_path / "lab/ssh_config")
    assert command[-2:] == ["gateway", "true"]


@pytest.mark.parametrize("address", ["ssh://?config=x", "gateway", "telnet://gateway", "ssh://-oProxyCommand=x", "ssh://", ""])
def test_what_is_no_address_of_a_host_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match="no address of a host"):
        host.parse(address)


def test_a_network_namespace_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such network namespace"):
        host.parse("netns:gone", tmp_path)


def test_a_program_that_fails_there_is_told_with_its_words() -> None:
    with pytest.raises(ToolFailed, match="status 3: sorry"):
        host.HERE.script("echo sorry >&2; exit 3")
