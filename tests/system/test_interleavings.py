"""Two site folders, one vCenter, guests of the same name: whatever the order of what both do, neither touches the other's.

Both have the same guest: its name, its plan, and, with every other seed, the same machine's name and MACs too, so that one of
them can have none while the other's stands. Each action is what a runbook does, under the run's locks, gate and approvals, in a
process of its own, which stops at some of the places where it tells its progress. A seeded chance decides where, who goes on,
who is killed by kill -9, who begins what, what is approved, and when somebody clones a machine or a plan changes. After every
single move vSphere is asked for all machines: those of whoever did not move have to be as they were.
"""

import multiprocessing
import os
import random
import re
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
from hikkoshi import files
from hikkoshi.approval import approval, approver, plan
from hikkoshi.approval.plan import Plan
from hikkoshi.disk.conversion import Conversion
from hikkoshi.errors import HikkoshiError, Refused
from hikkoshi.guest.survey import Survey
from hikkoshi.params.home import Home
from hikkoshi.progress import Progress
from hikkoshi.run import run as running
from hikkoshi.run.run import Run, open_run
from hikkoshi.steps.rollback import Rollback
from hikkoshi.vsphere import cutover, deployment, inventory, session, vm
from hikkoshi.vsphere.order import Order
from hikkoshi.vsphere.session import Session
from hikkoshi.xen import dom0
from hikkoshi_lab import keys, site, vcsim
from journey import MAC, converted, survey
from vcenter import MIB, by_hand, options

pytestmark = pytest.mark.needs("vcsim", "qemu-img", "openssl", "ssh-keygen")
PROJECT = Path(__file__).parents[2]
FORK = multiprocessing.get_context("fork")  # what is imported here is there at once
MOVES = 7
STEPS = {"deploy": "60-deploy", "cut over": "70-cutover", "roll back": "75-rollback"}
State = dict[str, tuple[str, str, str, tuple[str, ...], tuple[tuple[str, str], ...]]]


@dataclass
class Folder:
    """A site folder, and the action of it that is under way."""

    home: Home
    disk: Path
    sha256: str
    all_plans: dict[str, dict[str, Plan]] = field(default_factory=dict)  # {MAC: {letter: plan}}
    plans: dict[str, Plan] = field(default_factory=dict)  # of the present story
    plan: str = "a"
    what: str = ""
    pid: int = 0
    pipe: Connection | None = None
    runs: int = 0

    def __str__(self) -> str:
        return self.home.root.name

    def fresh(self, twins: bool) -> None:
        """The guest planned and converted, and nothing else; it is the very guest of the other folder, or has another MAC."""
        folder, guest = self.home.folder("idp"), self.home.root / "params/guests/idp.yml"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "disk").mkdir(parents=True)
        os.link(self.disk, folder / "disk" / "idp.vmdk")
        converted(folder, self.sha256)
        mac, wish = (MAC, "") if twins else (f"00:16:3e:01:00:{len(str(self)):02x}", f"vm: {{ name: idp-{self} }}\n")
        guest.write_text(f'name: idp\ndom0: xenhost\nconfig: /etc/xen/idp\nnics: [{{ mac: "{mac}", segment: servers }}]\n{wish}')
        self.plans = self.all_plans.setdefault(mac, {})
        if not self.plans:
            seen = Survey.model_validate_json(survey().model_dump_json().replace(MAC, mac))
            seen = seen.model_copy(update={"bytes": 8 * MIB})
            decided = plan.make(self.home, self.home.guest("idp"), self.home.site(), seen)
            for n, letter in enumerate("abcd"):
                larger = decided.vm.model_copy(update={"memory_mb": decided.vm.memory_mb + 64 * n})
                self.plans[letter] = decided.model_copy(update={"vm": larger})
        self.planned("a")

    def planned(self, letter: str) -> None:
        self.plan = letter
        self.plans[letter].save(self.home.folder("idp"))

    def approve(self) -> None:
        """A second person reads the page and signs; where nothing stands in vSphere by this plan, there is nothing to sign."""
        by = approver.of(self.home, "idp", keys.folder(self.home) / "approver")
        try:
            approval.give(self.home, "idp", self.plans[self.plan], "the page\n", by)
        except Refused:
            return

    @property
    def identity(self) -> str:
        return self.home.identity()

    def begin(self, what: str, chance: random.Random | None = None) -> str:
        """Begin an action, which stops at some places if there is a chance; gives what `on` gives."""
        self.what, self.runs = what, self.runs + 1
        self.pipe, other = FORK.Pipe()
        child = FORK.Process(target=self._act, args=(what, other, chance), daemon=True)
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

    def _act(self, what: str, pipe: Connection, chance: random.Random | None) -> None:
        def progress(done: float, total: float, words: str) -> None:
            if chance and chance.random() < 0.4:
                pipe.send("at")
                pipe.recv()

        running.display = lambda thing: None
        os.environ["HIKKOSHI_RUN"] = f"20261129T{self.runs:06d}Z-{STEPS[what]}"
        try:
            run = open_run(STEPS[what], {"guest": "idp", "mode": "apply", "home": str(self.home.root)}, wait=5)
            try:
                RUNBOOKS[what](run, progress)
            finally:
                run.close("completed")
            pipe.send("done")
        except Refused as e:
            pipe.send(f"refused: {e}")
        except HikkoshiError as e:
            pipe.send(f"failed: {e}")


def ordered(run: Run) -> Order:
    owner, folder = vm.owner(run.home, run.id, run.folder / "lock"), run.folder
    return Order.of(owner, "idp", Plan.find(folder), Conversion.find(folder), folder)


def deploy(run: Run, progress: Progress) -> None:
    """60, from its preflight to its action."""
    order, place = ordered(run), run.site.vsphere
    with session.connect(run.home, place, timeout=20) as v:
        run.preflight(deployment.checks(v, place, order))
        progress(0, 1, "checked")
        run.ensure("remove", lambda: deployment.no_earlier(v, order), lambda _: deployment.remove_earlier(v, order, progress))
        progress(0, 1, "removed")
        run.ensure(
            "import",
            lambda: deployment.recorded(v, order, run.folder),
            lambda _: deployment.start(v, place, order, run.folder, progress),
        )


def cut_over(run: Run, progress: Progress) -> None:
    """70, as far as vSphere is concerned."""
    order, place = ordered(run), run.site.vsphere
    with session.connect(run.home, place, timeout=20) as v:
        run.preflight([*cutover.checks(v, order, run.folder), *cutover.ready(v, place, order)])
        progress(0, 1, "checked")

        def start(_: object) -> None:
            off = dom0.source_off(run.home, run.site, run.guest)
            cutover.start(v, place, order, run.permit(), source=lambda: off, folder=run.folder, progress=progress)

        run.ensure("into service", lambda: cutover.complete(v, order, run.folder), start)


def roll_back(run: Run, progress: Progress) -> None:
    """75, up to the source, which a person starts here."""
    back = Rollback(run)
    progress(0, 1, "logged in")
    run.ensure("out of service", back.out_of_service, lambda _: back.take_out(progress))
    run.ensure("strike it", back.struck, back.strike)
    back.evidence()


RUNBOOKS = {"deploy": deploy, "cut over": cut_over, "roll back": roll_back}


@dataclass
class World:
    """The vCenter, both folders, and what nobody may touch."""

    v: Session
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

    def stop(self) -> None:
        """End what a story before has left under way."""
        for folder in self.folders:
            if folder.pipe:
                folder.kill()

    def clone(self, id: str) -> vm.VirtualMachine:
        """Somebody clones a machine in the vSphere client, and switches the clone on."""
        (machine,) = (m for m in vm.every(self.v).values() if m.id == id)
        place = inventory.place(self.v, self.folders[0].home.site().vsphere)
        spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False)
        task = machine.thing.CloneVM_Task(place.folder, f"copy {len(self.others)} of {id}", spec)
        made = vm.VirtualMachine(self.v.wait(task, "clone it"), {})
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
    homes = [Home(root / name) for name in ("one", "other")]
    with ExitStack() as stack:
        lab = homes[0].outputs / "lab"
        server = stack.enter_context(vcsim.start(lab))
        for home in homes:
            shutil.copytree(PROJECT / "params", home.root / "params")
            written = home.root / "params" / "site.yml"
            text = written.read_text().replace("127.0.0.1:8989", f"127.0.0.1:{server.port}")
            text = re.sub(r"(?m)^  vlan.*\n|#.*", "", text)  # what is read so often is to be short
            written.write_text(text.replace("outputs/lab/", f"{lab}/"))
            (home.root / "params/guests/gateway.yml").unlink()
        params = homes[0].site()
        v = stack.enter_context(session.connect(homes[0], params.vsphere))
        site.shape(v, params, lab / "tmp", lambda words: None)
        for home in homes:
            keys.make(home)
        digest = files.sha256(disk)
        made = World(v, (Folder(homes[0], disk, digest), Folder(homes[1], disk, digest)))
        stack.callback(made.stop)
        yield made


@pytest.mark.parametrize("seed", range(30))
def test_no_machine_of_the_other_is_ever_touched_and_none_is_lost(world: World, seed: int) -> None:
    play(world, seed)


def test_without_the_identity_of_a_site_folder_they_are(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = vm.whose
    blind = {"other": "ours"}
    monkeypatch.setattr(vm, "whose", lambda machine, site: blind.get(found := judged(machine, site), found))
    with pytest.raises(AssertionError, match="touched"):
        for seed in range(30):
            play(world, seed)


def play(world: World, seed: int) -> None:
    """One story: moves in an order by lot, and in the end the same commands again."""
    chance, twins = random.Random(seed), seed % 2 == 0
    world.stop()
    world.remove(*world.seen())
    world.others.clear()
    for folder in world.folders:
        folder.fresh(twins)
    story: list[str] = [f"seed {seed}, {'twins' if twins else 'two guests'}"]
    for folder in (f for f in world.folders if chance.random() < 0.7):
        story.append(f"{folder}: deploy: {folder.begin('deploy').splitlines()[0]}")
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
                mover.planned(chance.choice("bcd"))
            what = chance.choice(["deploy", "cut over", "cut over", "roll back"])
            if what == "cut over" and chance.random() < 0.9:
                mover.approve()
            told = mover.begin(what, chance)
        now = world.seen()
        story.append(f"{mover}, plan {mover.plan}: {mover.what}: {told.splitlines()[0]}")
        check(world, story, mover, other, told, before, now)
        served |= {i for i, s in now.items() if dict(s[4]).get(vm.STARTED)}
        assert served <= set(now), (story, "a machine that was in service is gone: lost")
    world.remove(*world.others)
    for folder in world.folders:  # from wherever each was: the same command again
        told = folder.on() if folder.pipe else folder.begin("deploy")
        while folder.pipe or folder.what != "deploy":
            told = folder.on() if folder.pipe else folder.begin("deploy")
        machines = world.of(folder, world.seen()).values()
        marks = dict(next(iter(machines))[4]) if machines else {}
        started = vm.STARTED in marks and "was never started" in told
        taken = twins and not machines and "the name idp is free" in told  # by the other's
        assert told == "done" or started or taken, (story, told)
        assert taken or vm.COMPLETE in marks, story


def check(world: World, story: list[str], mover: Folder, other: Folder, told: str, before: State, now: State) -> None:
    """What has to be so after every move."""
    assert not told.startswith("failed"), (story, told)
    assert world.of(other, now) == world.of(other, before), (story, "the other's was touched")
    assert {i: now.get(i) for i in world.others} == world.others, (story, "what belongs to neither was touched")
    own = world.of(mover, now)
    assert len(own) <= 1, (story, "two machines of one guest")
    if told == "done":
        for _, _, power, plugged, _ in own.values():
            want = {"cut over": ("poweredOn", 1), "roll back": ("poweredOff", 0)}.get(mover.what)
            assert want in (None, (power, len(plugged))), (story, power, plugged)
    if told == "killed" or told.startswith("refused"):
        assert set(world.of(mover, before)) <= set(own), (story, "lost")
