"""Starting programs: their words in the error, and no hanging."""

import ast
import os
import re
import signal
import sys
from pathlib import Path

import pytest

import hikkoshi
from hikkoshi import tool
from hikkoshi.errors import ToolFailed
from hikkoshi.network.host import Host
from hikkoshi.ssh import Login

END = re.compile(rb"END\n")


def test_what_a_program_printed_comes_back() -> None:
    assert tool.run(["cat"], stdin="引っ越し").stdout == "引っ越し"


def test_a_failing_program_is_told_with_its_own_words_and_exit_status() -> None:
    with pytest.raises(ToolFailed, match=r"exit status 3: no room"):
        tool.run(["sh", "-c", "echo no room >&2; exit 3"])


def test_an_expected_exit_status_is_no_failure() -> None:
    assert tool.run(["sh", "-c", "exit 3"], ok=(0, 3)).returncode == 3


def test_a_program_that_hangs_is_ended_with_all_it_started() -> None:
    with pytest.raises(ToolFailed, match="still running after"):
        tool.run(["sh", "-c", "sleep 60 & wait"], timeout=0.2)


def test_a_program_that_is_not_installed_is_told_with_the_remedy() -> None:
    with pytest.raises(ToolFailed, match="`hikkoshi doctor` says what is missing"):
        tool.run(["no-such-program"])


PASSWORD = {"VC_PASSWORD": "correct-horse", "HIKKOSHI_PASSWORD": "correct-horse", "SSH_AUTH_SOCK": "/run/agent"}


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PASSWORD.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("password")
def test_a_password_in_the_environment_reaches_no_program() -> None:
    for printed in (tool.run(["env"]).stdout, tool.run(["env"], env={"TZ": "UTC"}).stdout):
        assert "PATH=" in printed
        assert "correct-horse" not in printed
        assert "SSH_AUTH_SOCK" not in printed


@pytest.mark.usefixtures("password")
def test_a_program_that_may_ask_at_the_terminal_gets_no_password_either(tmp_path: Path) -> None:
    out = tmp_path / "environment"
    tool.talk(["sh", "-c", f"env >{out}"])
    assert "PATH=" in out.read_text()
    assert "correct-horse" not in out.read_text()


@pytest.mark.usefixtures("password")
def test_a_program_on_another_host_is_started_without_passwords_and_ssh_finds_its_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!{sys.executable}\nimport os\nprint(*(f'{{k}}={{v}}' for k, v in os.environ.items()), sep='\\n')\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with Host("far", login=Login("far")).start(["true"]) as process:
        assert process.stdout
        printed = process.stdout.read().decode()
    assert "SSH_AUTH_SOCK=/run/agent" in printed
    assert "correct-horse" not in printed


def test_whoever_starts_a_program_says_what_it_gets_of_the_environment() -> None:
    package, ourselves = Path(hikkoshi.__file__).parent, "fleet/task.py"  # that starts this very program
    for path in package.rglob("*.py"):
        for call in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)):
            if ast.unparse(call.func) in ("subprocess.Popen", "subprocess.run", "Popen") and path != package / ourselves:
                given = [ast.unparse(k.value) for k in call.keywords if k.arg == "env"]
                assert given, f"{path}:{call.lineno}"
                assert given[0].removeprefix("tool.").startswith("environment("), f"{path}:{call.lineno}"


def test_a_program_that_is_not_trusted_is_listened_to_until_it_has_told_enough() -> None:
    said = tool.converse(
        ["sh"], b"echo one; echo so >&2; echo END; cat >/dev/null; echo never\n", until=END, timeout=20, largest=99
    )
    assert (said.out, said.err, said.ending) == (b"one\nEND\n", b"so\n", "told")


@pytest.mark.parametrize(
    ("script", "ending"),
    [("exit 3", "ended"), ("sleep 60", "slow"), ("cat /dev/zero", "endless"), ("cat /dev/zero >&2", "endless")],
)
def test_why_it_is_listened_to_no_more_is_told_and_it_has_ended_by_then(script: str, ending: str) -> None:
    said = tool.converse(["sh", "-c", script], None, timeout=0.5 if ending == "slow" else 20, largest=1 << 20)
    assert (said.ending, said.status) == (ending, 3 if ending == "ended" else -signal.SIGKILL)
    assert max(len(said.out), len(said.err)) <= 1 << 20


def test_it_need_not_listen_to_all_that_is_said_to_it() -> None:
    assert tool.converse(["true"], bytes(1 << 20), timeout=20, largest=99).ending == "ended"
