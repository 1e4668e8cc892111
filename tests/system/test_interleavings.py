"""Two site folders, one vCenter, guests of the same name: whatever the order of what both do, neither touches the other's.

Each action runs in a process of its own, which stops at some of the places where it tells its progress. A seeded chance decides
where, who goes on, who is killed by kill -9, who begins what, and when somebody clones a machine or a plan changes. After
every single move vSphere is asked for all machines: those of whoever did not move have to be as they were.
"""

import multiprocessing
import os
import random
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from pyVmomi import vim

import vcenter
from hikkoshi import files, lock
from hikkoshi.errors import HikkoshiError, Refused
from hikkoshi.lab import site, vcsim
from hikkoshi.params import Home
from hikkoshi.vsphere import cutover, deployment, inventory, session, vm
from hikkoshi.vsphere.session import VSphere
from hikkoshi.vsphere.spec import Nic, VmSpec
from journey import permitted
from vcenter import MIB, OFF, by_hand, options

pytestmark = pytest.mark.needs("vcsim", "qemu-img", "openssl")
PROJECT = Path(__file__).parents[2]
FORK = multiprocessing.get_context("fork")  # what is imported here is there at once
MOVES = 12
State = dict[str, tuple[str, str, str, tuple[str, ...], tuple[tuple[str, str], ...]]]


@dataclass
class Folder:
    """A site folder, and the action of it that is under way."""

    home: Home
    spec: VmSpec
    disk: Path
    sha256: str
    plan: str = "a" * 64
    what: str = ""
    pid: int = 0
    pipe: Connection | None = None
    runs: int = 0

    @property
    def identity(self) -> str:
        return self.home.identity()

    def begin(self, what: str, chance: random.Random | None = None) -> str:
        """Begin an action, which stops at some places if there is a chance; gives what `on` gives."""
        self.what, self.runs = what, self.runs + 1
        self.pipe, other = FORK.Pipe()
        child = FORK.Process(target=self._act, args=(what, f"run-{self.runs}", other, chance))
        child.start()
        other.close()
        assert child.pid
        self.pid, self.child = child.pid, child
        return self._heard()

    def on(self) -> str:
        """Let it go on to the next place: 'at', or its end: 'done', 'refused', or what went wrong."""
        assert self.pipe
        self.pipe.send("go")
        return self._heard()

    def kill(self) -> None:
        """kill -9, wherever it is."""
        os.kill(self.pid, signal.SIGKILL)
        self._over()

    def _heard(self) -> str:
        assert self.pipe
        told = str(self.pipe.recv())
        if told != "at":
            self._over()
        return told

    def _over(self) -> None:
        self.child.join()
        assert self.pipe
        self.pipe.close()
        self.pipe = None

    def _act(self, what: str, run: str, pipe: Connection, chance: random.Random | None) -> None:
        def progress(done: float, total: float, words: str) -> None:
            if chance and chance.random() < 0.4:
                pipe.send("at")
                pipe.recv()

        params, folder = self.home.site().vsphere, self.home.folder("gateway")
        try:
            with lock.acquire(folder / "lock", run, wait=5), session.connect(self.home, params, timeout=20) as v:
                owner = vm.owner(self.home, run, folder / "lock")
                order = deployment.Order(owner, "gateway", self.spec, self.plan, self.disk, self.sha256)
                progress(0, 1, what)
                if what == "deploy" and not deployment.complete(v, order):
                    deployment.remove_earlier(v, order, progress)
                    progress(0, 1, "import")
                    deployment.start(v, params, order, folder, progress)
                elif what == "cut over":
                    now = "".join(m.uuid for m in deployment.found(v, order))
                    given = permitted(plan=self.plan, vmdk=self.sha256, machine=now)
                    cutover.start(v, params, order, given, source=OFF, folder=folder, progress=progress)
                elif what == "roll back":
                    cutover.roll_back(v, order, progress)
                    cutover.strike(folder)
            pipe.send("done")
        except Refused as e:
            pipe.send(f"refused: {e}")
        except HikkoshiError as e:
            pipe.send(f"failed: {e}")


@dataclass
class World:
    """The vCenter, both folders, and what nobody may touch."""

    v: VSphere
    folders: tuple[Folder, Folder]
    others: State = field(default_factory=dict)  # what belongs to neither: clones

    def seen(self) -> State:
        found = {}
        for m in vm.every(self.v).values():
            found[m.id] = (vm.whose(m, ""), m.name, m.power, tuple(sorted(m.plugged)), tuple(sorted(m.marks.items())))
        return found

    def of(self, folder: Folder, now: State) -> State:
        """A folder's own machines, clones left out."""
        return {i: s for i, s in now.items() if i not in self.others and (vm.SITE, folder.identity) in s[4]}

    def clone(self, id: str) -> vm.Machine:
        """Somebody clones a machine in the vSphere client, and switches the clone on."""
        (machine,) = (m for m in vm.every(self.v).values() if m.id == id)
        place = inventory.place(self.v, self.folders[0].home.site().vsphere)
        spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False)
        task = machine.thing.CloneVM_Task(place.folder, f"copy {len(self.others)} of {id}", spec)
        made = vm.Machine(self.v.wait(task, "clone it"), {})
        made = by_hand(self.v, made, extraConfig=options(machine.marks))
        self.v.wait(made.thing.PowerOnVM_Task(), "switch it on")
        return made

    def remove(self, *ids: str) -> None:
        for m in vm.every(self.v).values():
            if m.id in ids:
                if m.power == "poweredOn":
                    self.v.wait(m.thing.PowerOffVM_Task(), "off")
                self.v.wait(m.thing.Destroy_Task(), "remove it")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("two")
    disk = vcenter.disk(root)
    homes = [Home(root / name) for name in ("one", "two")]
    with ExitStack() as stack:
        lab = homes[0].outputs / "lab"
        server = stack.enter_context(vcsim.start(lab))
        for home in homes:
            shutil.copytree(PROJECT / "params", home.root / "params")
            written = home.root / "params" / "site.yml"
            text = written.read_text().replace("127.0.0.1:8989", f"127.0.0.1:{server.port}")
            written.write_text(text.replace("outputs/lab/", f"{lab}/"))
        params = homes[0].site()
        v = stack.enter_context(session.connect(homes[0], params.vsphere))
        site.shape(v, params, lab / "tmp", lambda words: None)
        groups = list(params.segments.items())[:2]
        folders = []
        for n, home in enumerate(homes):
            nics = tuple(
                Nic(name=f"eth{i}", mac=f"00:16:3e:0{n}:00:0{i}", segment=s, port_group=g.port_group, vlan=g.vlan)
                for i, (s, g) in enumerate(groups)
            )
            spec = VmSpec(
                name=f"gateway-{n}", guest_id="centos64Guest", hardware_version=10, vcpus=1, memory_mb=640,
                disk_bytes=8 * MIB, controller="pvscsi", nic_model="vmxnet3", nics=nics,
            )  # fmt: skip
            folders.append(Folder(home, spec, disk, files.sha256(disk)))
        yield World(v, (folders[0], folders[1]))


@pytest.mark.parametrize("seed", range(30))
def test_no_machine_of_the_other_is_ever_touched_and_none_is_lost(world: World, seed: int) -> None:
    chance = random.Random(seed)
    world.remove(*world.seen())
    world.others.clear()
    for folder in world.folders:
        folder.plan = "a" * 64
    story: list[str] = [f"seed {seed}"]
    for folder in (f for f in world.folders if chance.random() < 0.7):
        story.append(f"{folder.spec.name}: deploy: {folder.begin('deploy')}")
    now, served = world.seen(), set[str]()
    for _ in range(MOVES):
        mover = chance.choice(world.folders)
        other = next(f for f in world.folders if f is not mover)
        before, told = now, ""
        own = [i for i, s in world.of(mover, now).items() if dict(s[4]).get(vm.COMPLETE)]
        if mover.pipe:
            if chance.random() < 0.25:
                mover.kill()
                told = "killed"
            else:
                told = mover.on()
        elif own and chance.random() < 0.1:
            copy = world.clone(chance.choice(own))
            world.others[copy.id] = world.seen()[copy.id]
            told = f"cloned as {copy}"
        else:
            if not served & set(own) and chance.random() < 0.2:
                mover.plan = chance.choice("bcd") * 64
            told = mover.begin(chance.choice(["deploy", "cut over", "cut over", "roll back"]), chance)
        now = world.seen()
        story.append(f"{mover.spec.name}, plan {mover.plan[0]}: {mover.what}: {told.splitlines()[0]}")
        check(world, story, mover, other, told, before, now)
        served |= {i for i, s in now.items() if dict(s[4]).get(vm.STARTED)}
        assert served <= set(now), (story, "a machine that was in service is gone")
    world.remove(*world.others)
    for folder in world.folders:  # from wherever each was: the same command again
        told = folder.on() if folder.pipe else folder.begin("deploy")
        while folder.pipe or folder.what != "deploy":
            told = folder.on() if folder.pipe else folder.begin("deploy")
        (machine,) = world.of(folder, world.seen()).values()
        marks = dict(machine[4])
        assert told == "done" or (vm.STARTED in marks and "was never started" in told), (story, told)
        assert vm.COMPLETE in marks, story


def check(world: World, story: list[str], mover: Folder, other: Folder, told: str, before: State, now: State) -> None:
    """What has to be so after every move."""
    assert not told.startswith("failed"), (story, told)
    assert world.of(other, now) == world.of(other, before), (story, "the other's was touched")
    assert {i: now.get(i) for i in world.others} == world.others, (story, "what belongs to neither was touched")
    own = world.of(mover, now)
    assert len(own) <= 1, (story, "two machines of one guest")
    if told == "done":
        for _, _, power, plugged, _ in own.values():
            want = {"cut over": ("poweredOn", 2), "roll back": ("poweredOff", 0)}.get(mover.what)
            assert want in (None, (power, len(plugged))), (story, power, plugged)
    if told == "killed" or told.startswith("refused"):
        assert set(world.of(mover, before)) <= set(own), (story, "lost")
