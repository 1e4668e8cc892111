"""Commands that are forked from a process which has loaded them: each a process of its own, that ends when its runner does."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hikkoshi.fleet import loaded

RUNNER = """
import json, os, pathlib, signal, subprocess, sys, tempfile, threading, time
from hikkoshi.fleet import loaded
from hikkoshi.record.engine import environment

def main():
    if "commit" in sys.argv:
        print(json.dumps({"commit": environment.commit()}))
        sys.exit()
    if "wait" in sys.argv:
        time.sleep(600)
    home, session = os.environ["HIKKOSHI_HOME"], os.getsid(0)
    draws = "matplotlib.backends.backend_agg" in sys.modules and sys.modules["matplotlib"].get_backend()
    whose = {"pid": os.getpid(), "parent": os.getppid(), "session": session}
    print(json.dumps({**whose, "draws": draws, "argv": sys.argv, "home": home}))
    print("said", file=sys.stderr)
    sys.exit(3)

def one(commands, *words):
    with tempfile.TemporaryFile() as answer:
        begun = commands.begin([*loaded.COMMAND, *words], {**os.environ, "HIKKOSHI_HOME": "/a home"}, answer)
        with begun.said as lines:
            said, code = lines.read().decode(), begun.wait()
        answer.seek(0)
        return {**json.loads(answer.read()), "code": code, "said": said}

environment.PROJECT = pathlib.Path(sys.argv[1])
loaded.CODE = environment.PROJECT / "lib"

def commit():
    git = ["git", "-C", sys.argv[1], "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "a"]
    subprocess.run(git, check=True)

commit()
with tempfile.TemporaryDirectory() as own, loaded.commands(main) as commands:
    loaded_then = environment.commit()
    commit()
    of = one(commands, "commit")["commit"], loaded_then
    kept = pathlib.Path(own).is_dir()
with tempfile.TemporaryFile() as answer, loaded.commands(main, ["10-survey", "20-plan"]) as commands:
    found = [one(commands, "run", name) for name in ("a", "b")]
    program = commands.begin(["/bin/true"], dict(os.environ), answer) is None
    waiting = commands.begin([*loaded.COMMAND, "wait"], dict(os.environ), answer).pid
    loaded.CODE.mkdir()
    (loaded.CODE / "later.py").touch()
    updated = commands.begin([*loaded.COMMAND, "run"], dict(os.environ), answer) is None
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
with loaded.commands(main) as commands:
    alone = commands.begin([*loaded.COMMAND, "run"], dict(os.environ), sys.stdout.buffer) is None
about = {"program": program, "waiting": waiting, "alone": alone, "of": of, "kept": kept, "updated": updated}
print(json.dumps({"pid": os.getpid(), "found": found, **about}), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a runner saw that was killed then, with a command of its still at work."""
    project = tmp_path_factory.mktemp("project")
    subprocess.run(["git", "init", "-q", project], check=True)
    done = subprocess.run([sys.executable, "-c", RUNNER, project], capture_output=True, text=True, timeout=300, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_each_command_is_a_process_of_its_own_and_a_child_of_the_runner(told: dict[str, Any]) -> None:
    first, second = told["found"]
    assert {first["parent"], second["parent"]} == {told["pid"]}
    assert len({first["pid"], second["pid"], told["pid"]}) == 3
    assert (first["session"], second["session"]) == (first["pid"], second["pid"])


def test_a_command_gets_its_words_and_environment_and_what_it_says_and_how_it_ends_is_heard(told: dict[str, Any]) -> None:
    assert [(c["argv"], c["home"], c["code"], c["said"]) for c in told["found"]] == [
        (["hikkoshi", "run", name], "/a home", 3, "said\n") for name in ("a", "b")
    ]


def test_where_there_are_many_commands_each_has_loaded_what_draws_in_a_notebook(told: dict[str, Any]) -> None:
    assert {command["draws"] for command in told["found"]} == {loaded.INLINE}


def test_what_is_no_command_of_ours_and_what_would_be_half_a_process_is_started_otherwise(told: dict[str, Any]) -> None:
    assert (told["program"], told["alone"]) == (True, True)


def test_a_command_tells_the_commit_that_it_was_loaded_from_and_none_that_was_put_there_later(told: dict[str, Any]) -> None:
    commit, loaded = told["of"]
    assert (commit, len(commit)) == (loaded, 40)


def test_once_the_program_is_another_its_commands_are_no_longer_forked_from_what_was_loaded(told: dict[str, Any]) -> None:
    assert told["updated"]


def test_a_temporary_folder_of_the_runner_is_there_after_a_command_has_ended(told: dict[str, Any]) -> None:
    assert told["kept"]


def test_a_command_is_killed_with_its_runner(told: dict[str, Any]) -> None:
    stat, end = Path(f"/proc/{told['waiting']}/stat"), time.monotonic() + 60
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end
        time.sleep(0.02)
