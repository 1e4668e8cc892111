"""Always a way back: whatever is in the way, 75 does what can be done, and says what a person has to do, in seconds."""

import contextlib
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

import warm
from hikkoshi.errors import BadInput, HikkoshiError, Problem, Refused, VSphereError
from hikkoshi.params.home import Home
from hikkoshi.record import register, seal
from hikkoshi.run.journal import MARK, Journal
from hikkoshi.steps.rollback import Rollback
from hikkoshi.vsphere import inventory, session, vm
from hikkoshi_lab import keys, proxy, site, vcsim
from hikkoshi_lab.proxy import Fault
from journey import MAC, Move
from processes import COMMAND, PATIENCE, free_port

pytestmark = pytest.mark.needs("vcsim", "openssl")
BACK = ("run", "idp", "--only", "75", "--apply")
WORDS = 45.0  # seconds within which all is done and said, beside what a run takes that meets nothing; it may become slower
XL = """#!/bin/sh
here=$(dirname "$0")
case "$*" in
create*) echo idp > "$here/running"; echo "$*" >> "$here/calls" ;;
"list -l") echo "[]" ;;
list*) if [ -f "$here/leaving" ]; then n=$(cat "$here/leaving"); echo $((n - 1)) > "$here/leaving"
      [ "$n" = 0 ] && rm "$here/running" "$here/leaving"; fi
      echo "Name ID Mem VCPUs State Time(s)"; echo "Domain-0 0 2048 2 r----- 1.0"
      [ -f "$here/running" ] && echo "idp 7 1024 1 -b---- 1.0" || true ;;
esac
"""


@dataclass
class World:
    """A home whose guest idp is in service on a vCenter of its own, and a Dom-0 that is this machine."""

    home: Home
    server: vcsim.Server
    bin: Path
    thing: Any
    stack: ExitStack
    held: list[Any] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.home.folder("idp")

    @property
    def entries(self) -> list[dict[str, Any]]:
        return Journal(self.folder / "journal.jsonl").entries()

    def machine(self) -> tuple[str, bool]:
        """Its power, and whether a NIC is plugged in."""
        with session.connect(self.home, self.home.site().vsphere) as v:
            now = vm.again(v, vm.VirtualMachine(vim.VirtualMachine(self.thing, v._stub), {}))
        return now.power, any(d.connectable.startConnected for d in now.nics.values())

    def source_started(self) -> bool:
        return (self.bin / "running").exists()

    def change(self, old: str, new: str) -> None:
        path = self.home.root / "params" / "site.yml"
        path.write_text(path.read_text().replace(old, new))

    def hold(self, path: Path) -> None:
        """Another process's lock, for as long as the test lasts."""
        path.parent.mkdir(parents=True, exist_ok=True)
        code = "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True)"
        held = subprocess.Popen([sys.executable, "-c", f"{code}; time.sleep(600)", path], stdout=subprocess.PIPE)
        self.stack.enter_context(held)
        self.stack.callback(held.kill)
        assert held.stdout
        held.stdout.readline()
        self.held.append(held)

    def back(self, *prefix: str) -> "Ended":
        """`hikkoshi run idp --only 75 --apply`, and how long it took."""
        start = time.monotonic()
        env = {**os.environ, "HIKKOSHI_HOME": str(self.home.root), "PATH": f"{self.bin}:{os.environ['PATH']}"}
        done = subprocess.run(
            [*prefix, *(COMMAND if prefix else warm.command()), *BACK],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Ended(done.returncode, done.stdout + done.stderr, time.monotonic() - start)


@dataclass(frozen=True)
class Ended:
    code: int
    told: str
    seconds: float


def serving(v: session.Session, world_site: Any, identity: str) -> Any:
    """A machine with our marks, on and plugged in, as 60 and 70 leave it; without a disk."""
    place = inventory.place(v, world_site.vsphere)
    network = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    card = vim.vm.device.VirtualVmxnet3(key=-1, backing=network, addressType="manual", macAddress=MAC)
    card.connectable = vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, connected=True, allowGuestControl=True)
    marks = {
        vm.SITE: identity,
        vm.GUEST: "idp",
        vm.COMPLETE: "2026-11-22T00:00:00+00:00",
        vm.SERVICE: "2026-11-22T00:00:00+00:00",
    }
    config = vim.vm.ConfigSpec(
        name="idp",
        guestId="otherGuest",
        numCPUs=1,
        memoryMB=64,
        files=vim.vm.FileInfo(vmPathName="[storage1]"),
        extraConfig=[vim.option.OptionValue(key=k, value=x) for k, x in marks.items()],
        deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="add", device=card)],
    )
    made = v.wait(place.folder.CreateVM_Task(config, place.pool), "make it")
    uuid = vim.option.OptionValue(key=vm.MACHINE, value=made.config.instanceUuid)
    v.wait(made.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[uuid])), "mark it")
    v.wait(made.PowerOnVM_Task(), "switch it on")
    return made


@pytest.fixture
def world(home: Home) -> Iterator[World]:
    with ExitStack() as stack:
        lab = home.outputs / "lab"
        server = stack.enter_context(vcsim.start(lab, listen=f"127.0.0.1:{free_port()}"))  # to which it may come back
        params = home.root / "params" / "site.yml"
        text = params.read_text().replace("127.0.0.1:8989", f"127.0.0.1:{server.port}")
        params.write_text(text.replace("root: outputs/lab/dom0", "root: /"))
        keys.make(home)
        with session.connect(home, home.site().vsphere) as v:
            site.shape(v, home.site(), lab / "tmp", lambda words: None)
            thing = serving(v, home.site(), home.identity())._moId
        Move(home).results("70-cutover")
        found = home.folder("idp") / "deployment.json"
        found.write_text(found.read_text().replace('"vm-7"', f'"{thing}"'))
        xl = home.root / "bin" / "xl"
        xl.parent.mkdir()
        xl.write_text(XL)
        xl.chmod(0o755)
        yield World(home, server, xl.parent, thing, stack)


@pytest.fixture(scope="module")
def usual() -> dict[str, float]:
    """What a run takes here that meets nothing; the first test finds it out."""
    return {"seconds": 30.0}


def test_with_nothing_in_the_way_the_machine_is_off_and_the_source_runs(world: World, usual: dict[str, float]) -> None:
    done = world.back()
    assert done.code == 0, done.told
    assert world.machine() == ("poweredOff", False)
    assert world.source_started()
    usual["seconds"] = done.seconds


def test_without_vcenter_the_source_starts_only_after_a_person_has_said_that_the_machine_is_off(
    world: World, usual: dict[str, float]
) -> None:
    """In the end the source is one that goes off by itself: a 70 that is no longer there has asked it to shut down."""
    world.server.end()
    journal = Journal(world.folder / "journal.jsonl")
    journal.append("start", run="the stopped one", step="70-cutover", title="the source is off")
    done = world.back()
    assert done.code == 3, done.told
    assert done.seconds < usual["seconds"] + WORDS
    order = [
        "a person has to switch idp off",
        f"moid {world.thing}",
        "Disconnect all its NICs",
        "vim-cmd vmsvc/power.off",
        "hikkoshi confirm-off idp",
        "hikkoshi run idp --only 75 --apply",
        "on the Dom-0 xenhost: xl create /etc/xen/idp",
    ]
    places = [done.told.index(words) for words in order]
    assert places == sorted(places), done.told
    assert not world.source_started()
    assert (world.folder / "cutover.json").exists()

    assert "no terminal" in confirm(world, None)
    assert "nothing was confirmed" in confirm(world, "gateway")
    assert world.back().code == 3
    assert not world.source_started()

    assert "confirmed at" in confirm(world, "idp")
    (world.bin / "running").touch()
    (world.bin / "leaving").write_text("5\n")
    done = world.back()
    assert done.code == 0, done.told
    assert "the stopped one asked it at" in done.told
    assert (world.bin / "calls").read_text() == "create /etc/xen/idp\n"
    assert world.source_started()
    assert not (world.folder / "cutover.json").exists()
    run = max(e["run"] for e in world.entries if e["event"] == "open")
    (row,) = [e for e in world.entries if e.get("title") == "take the machine in vSphere out of service" and e["run"] == run]
    assert row["state"] == "not seen"
    assert "that idp is off" in row["found"]
    assert [e["machine"] for e in world.entries if e["event"] == "confirmed-off"] == ["idp"]


def confirm(world: World, typed: str | None) -> str:
    """`hikkoshi confirm-off idp`, typed at a terminal, or where there is none."""
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "confirm-off", "idp"],
        env={**os.environ, "HIKKOSHI_HOME": str(world.home.root)},
        stdin=terminal if typed else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if typed:
        os.write(master, f"{typed}\n".encode())
    told, _ = process.communicate(timeout=PATIENCE)
    os.close(master)
    os.close(terminal)
    return told


def test_with_every_lock_held_and_journal_keys_and_plan_gone_all_is_done_and_sealed_later(
    world: World, usual: dict[str, float]
) -> None:
    for path in (world.folder / "lock", world.folder / "runner.lock", register.of(world.home).path):
        world.hold(path)
    journal = world.folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"10-survey", b"10-SURVEY", 1)[:-30])
    shutil.rmtree(keys.folder(world.home))
    (world.folder / "plan.json").write_text("{")
    (world.folder / "deployment.json").unlink()
    done = world.back()
    assert done.code == 1, done.told
    assert done.seconds < usual["seconds"] + WORDS
    assert world.machine() == ("poweredOff", False)
    assert world.source_started()
    assert "another run is at work on this guest" in done.told
    assert "the journal was changed after it was written" in done.told
    assert "NOT SEALED · another run is sealing" in done.told
    (run,) = {e["run"] for e in world.entries if e.get("step") == "75-rollback"}
    for process in world.held:
        process.kill()
        process.wait()
    assert run in [p.name for p in seal.pending(world.home, "idp")]


@contextlib.contextmanager
def silence() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(8)
        yield int(s.getsockname()[1])


def test_with_everything_in_the_way_at_once_a_person_is_told_what_to_do(world: World, usual: dict[str, float]) -> None:
    for path in (world.folder / "lock", world.folder / "runner.lock", register.of(world.home).path):
        world.hold(path)
    (world.folder / "journal.jsonl").unlink()
    os.mkfifo(world.folder / "journal.jsonl")
    shutil.rmtree(keys.folder(world.home))
    with silence() as port:
        world.change(f"127.0.0.1:{world.server.port}", f"127.0.0.1:{port}")
        done = world.back()
    assert done.code == 3, done.told
    assert done.seconds < usual["seconds"] + WORDS
    assert "vSphere does not answer within" in done.told
    assert "hikkoshi confirm-off idp" in done.told
    assert "xl create /etc/xen/idp" in done.told
    assert MARK in done.told
    assert not world.source_started()


@pytest.mark.needs("root", "unshare", "mount", "bash")
def test_on_a_full_disk_all_is_done_told_on_stderr_and_sealed_when_there_is_room(world: World, usual: dict[str, float]) -> None:
    outputs, kept = world.home.outputs, world.home.root / "kept"
    inside = (
        f"cp -a {outputs} {kept} && mount -t tmpfs -o size=8m none {outputs} && cp -a {kept}/. {outputs} && "
        f"export HOME={outputs}/home && mkdir $HOME && "  # whose disk is as full
        f'{{ cat /dev/zero > {outputs}/all 2>/dev/null; "$@"; code=$?; rm {outputs}/all; '
        f"rm -r {kept}; cp -a {outputs} {kept}; exit $code; }}"
    )
    done = world.back("unshare", "--mount", "bash", "-c", inside, "bash")
    shutil.rmtree(outputs)
    kept.rename(outputs)
    assert done.code == 1, done.told
    assert done.seconds < usual["seconds"] + WORDS
    assert world.machine() == ("poweredOff", False)
    assert world.source_started()
    assert not (world.folder / "cutover.json").exists()
    lines = [line.strip() for line in done.told.splitlines() if line.strip().startswith(MARK)]
    assert lines, done.told
    assert "No space left on device" in done.told
    Journal(world.folder / "journal.jsonl").check()
    (run,) = {e["run"] for e in world.entries if e.get("step") == "75-rollback"}
    events = [(e["event"], e.get("title", "")) for e in world.entries if e.get("run") == run]
    assert {"open", "preflight", "verify", "end"} <= {event for event, _ in events}
    told = {event for event, _ in events} | {json.loads(line.removeprefix(MARK))["event"] for line in lines}
    assert "outcome" in told, "it is the last one, for which there may be no room"
    assert ("step", "the source is back in service") in events
    assert len(events) == len(set(events)), "no line was put back twice"
    assert run in [p.name for p in seal.pending(world.home, "idp")]


@pytest.mark.needs("root", "unshare", "mount", "bash")
def test_where_outputs_has_become_read_only_the_source_starts_and_the_record_that_stays_is_red(
    world: World, usual: dict[str, float]
) -> None:
    """As after an error of the disk; what a killed run left lies there, too, and the plan cannot be read any more."""
    (world.folder / "runs").mkdir()
    for left in ("20261122T000000Z-70-cutover.part.ipynb", "20261122T000000Z-70-cutover.part.ipynb.new"):
        (world.folder / "runs" / left).write_text("{}")
    (world.folder / "plan.json").unlink()
    (world.folder / "plan.json").symlink_to("/proc/self/mem")  # EIO
    outputs, elsewhere = world.home.outputs, world.home.root / "elsewhere"
    inside = (
        f'mount --bind {outputs} {outputs} && mount -o remount,bind,ro {outputs} && mkdir {elsewhere} && HOME={elsewhere} "$@"'
    )
    done = world.back("unshare", "--mount", "bash", "-c", inside, "bash")
    assert done.seconds < usual["seconds"] + WORDS
    assert world.machine() == ("poweredOff", False)
    assert world.source_started(), done.told
    assert done.code == 1, done.told
    assert "cutover.json cannot be struck off: Read-only file system" in done.told
    assert "a check failed: no cut-over stands on record" in done.told
    assert "Input/output error" in done.told


def test_where_another_is_in_the_middle_of_an_action_it_is_named_and_nothing_is_done(
    world: World, usual: dict[str, float]
) -> None:
    world.hold(world.folder / "turn.lock")
    done = world.back()
    assert done.code == 3, done.told
    assert done.seconds < usual["seconds"] + WORDS
    assert f"kill {world.held[0].pid}" in done.told
    assert world.machine() == ("poweredOn", True)


@pytest.mark.parametrize("damaged", ["params/site.yml", "params/guests/idp.yml"])
def test_with_damaged_parameters_a_person_is_told_what_to_do(world: World, damaged: str) -> None:
    path = world.home.root / damaged
    path.write_text(path.read_text() + "\nnonsense: true\n")
    done = world.back()
    assert done.code == 2, done.told
    assert "nonsense" in done.told
    assert f"find the machine idp (moid {world.thing}" in done.told
    assert "xl create /etc/xen/idp" in done.told
    assert "confirm-off" not in done.told  # no word would help: the run has to read its parameters first


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("ca: outputs/lab/ca.pem", f"sha256: {'ab' * 32}", "certificate is not the expected one"),
        ("user: administrator", "user: nobody", "does not accept user and password"),
        ("password: file:outputs/lab/vcenter.password", "password: file:outputs/lab/none", "cannot be read"),
        ("server: 127.0.0.1:", "server: no-such-name.invalid:", "name is unknown"),
    ],
)
def test_whatever_is_wrong_with_the_way_to_vsphere_the_rollback_goes_on(world: World, old: str, new: str, told: str) -> None:
    world.change(old, new)
    back = Rollback(Rollback.open({"guest": "idp", "home": str(world.home.root)}))
    (seen,) = back.present()
    assert seen.unseen == "not seen"
    assert told in seen.found
    with pytest.raises(Refused, match="a person has to switch idp off"):
        back.take_out()
    with pytest.raises(Refused, match="idp is out of service"):
        back.start()


def test_a_vcenter_that_comes_back_is_asked_again_and_one_that_has_lost_the_machine_is_not_believed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{world.server.host}:{world.server.port}"
    world.server.end()
    back = Rollback(Rollback.open({"guest": "idp", "home": str(world.home.root)}))
    assert not back.out_of_service()
    world.stack.enter_context(vcsim.start(world.home.outputs / "lab", listen=address))
    monkeypatch.setattr("hikkoshi.steps.rollback.PAUSE", 0.0)
    lost = back.out_of_service()
    assert not lost
    assert "in service, and vSphere shows no machine of ours" in lost.found  # it has forgotten the machine
    with pytest.raises(Refused, match="a person has to switch idp off"):
        back.take_out()
    back.strike()
    assert back.out_of_service()
    back.evidence()


def test_where_the_session_has_ended_and_the_password_is_another_a_person_is_told_what_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = Rollback(Rollback.open({"guest": "idp", "home": str(world.home.root)}))

    def marked(*_: object) -> None:
        raise BadInput(Problem(code="vsphere-login-rejected", what="vSphere does not accept user and password"))

    monkeypatch.setattr(vm, "marked", marked)
    with pytest.raises(VSphereError, match="a person has to switch idp off"):
        back.take_out()
    gone = back.out_of_service()
    assert not gone
    assert "does not accept user and password" in gone.found
    assert "hikkoshi confirm-off idp" in gone.remedy


def test_beside_a_machine_of_an_earlier_version_that_is_on_the_source_starts_only_after_a_word(world: World) -> None:
    (world.home.outputs / "identity").write_text("5eed0000-0000-4000-8000-000000000001")  # and so it is not ours
    back = Rollback(Rollback.open({"guest": "idp", "home": str(world.home.root)}))
    back.strike()
    assert back.out_of_service()
    with pytest.raises(Refused, match="no other machine in vSphere is on with one of the MACs"):
        back.start()
    assert "confirmed at" in confirm(world, "idp")
    with pytest.raises(HikkoshiError, match="Dom-0"):  # here is none, and so it was tried
        back.start()
    back.evidence()


def connection(world: World, state: str) -> None:
    """What vSphere tells of its connection to the machine: vcsim takes that from a mark."""
    with session.connect(world.home, world.home.site().vsphere) as v:
        mark = vim.option.OptionValue(key="SET.runtime.connectionState", value=state)
        v.wait(vim.VirtualMachine(world.thing, v._stub).ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[mark])), state)


def test_no_word_counts_against_what_vsphere_sees_but_it_does_against_what_it_saw_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{world.bin}:{os.environ['PATH']}")
    back = Rollback(Rollback.open({"guest": "idp", "home": str(world.home.root)}))
    connection(world, "disconnected")
    stale = back.out_of_service()
    assert not stale
    assert "not seen now (disconnected; poweredOn before)" in stale.found
    assert "hikkoshi confirm-off idp" in stale.remedy
    with pytest.raises(Refused, match="a person has to switch idp off"):
        back.take_out()
    assert back.present()[0].unseen == "not seen"

    assert "confirmed at" in confirm(world, "idp")
    connection(world, "connected")
    assert "poweredOn" in back.out_of_service().found
    with pytest.raises(Refused, match="idp is out of service"):
        back.start()
    assert not world.source_started()

    for state in ("inaccessible", "orphaned", "invalid", "disconnected"):
        connection(world, state)
        assert back.out_of_service().unseen == "not seen"
    back.start()
    assert world.source_started()
    back.evidence()


def test_what_cannot_be_unplugged_is_switched_off_all_the_same(world: World) -> None:
    front = world.stack.enter_context(proxy.start(world.server, world.home.outputs / "lab", world.home.root / "kept"))
    world.change(f"127.0.0.1:{world.server.port}", f"127.0.0.1:{front.port}")
    front.faults.soap["ReconfigVM_Task"] = Fault("TaskInProgress", times=1)
    back = Rollback(Rollback.open({"guest": "idp", "home": str(world.home.root)}))
    with pytest.raises(VSphereError) as told:
        back.take_out()
    assert "disconnect the NICs" in str(told.value)
    assert "a person has to switch idp off" in str(told.value)
    assert world.machine() == ("poweredOff", True)
    assert (world.folder / "cutover.json").exists()
    back.evidence()
