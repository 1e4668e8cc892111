"""The approval between a person and the service: a real cut-over with and without it, and the command on a real terminal."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import vcenter
from hikkoshi.approval import approval, plan
from hikkoshi.approval.plan import Plan
from hikkoshi.errors import Refused
from hikkoshi.guest.survey import Survey
from hikkoshi.params.home import Home
from hikkoshi.run.run import open_run
from hikkoshi.vsphere import cutover, session, vm
from hikkoshi_lab import keys, site, vcsim
from journey import converted, deployed
from processes import hikkoshi, on_a_terminal

PROJECT = Path(__file__).parents[2]
NAME = "Type the guest's name"


def step(home: Home, number: str) -> tuple[int, str]:
    done = hikkoshi(home, "run", "idp", "--apply", "--only", number)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def ready(moved: Home, tmp_path: Path) -> Iterator[Home]:
    """A home of its own, with a vCenter of its own to which idp was deployed: what came before is copied from a real run."""
    home, own = Home(tmp_path), tmp_path / "outputs" / "lab"
    shutil.copytree(moved.root / "params", tmp_path / "params")
    shutil.copytree(keys.folder(moved), keys.folder(home))
    shutil.copytree(
        moved.folder("idp"),
        home.folder("idp"),
        ignore=shutil.ignore_patterns("*.img", "runs", "deployment.json", "cutover.json", "approvals"),
    )
    copies = moved.folder("idp").copies(3)
    subprocess.run(["cp", "--sparse=always", "--preserve=timestamps", *copies, home.folder("idp").disks], check=True)
    own.mkdir(parents=True)
    with vcsim.start(own) as server:
        params = tmp_path / "params" / "site.yml"
        text = params.read_text().replace("outputs/lab/dom0", f"{moved.outputs}/lab/dom0")
        params.write_text(re.sub(r"(?m)^  server: .*$", f"  server: 127.0.0.1:{server.port}", text))
        with session.connect(home, home.site().vsphere) as v:
            site.shape(v, home.site(), own / "tmp", lambda words: None)
        plan_again(home)
        code, told = step(home, "60")
        assert code == 0, told
        yield home


def plan_again(home: Home) -> None:
    """The plan of this vCenter; the rehearsal counts as that of this plan: disk and machine are those that were rehearsed."""
    folder = home.folder("idp")
    before = Plan.load(folder).hash
    code, told = step(home, "20")
    assert code == 0, told
    rehearsed = folder / "rehearsal.json"
    rehearsed.write_text(rehearsed.read_text().replace(before, Plan.load(folder).hash))


def power(home: Home) -> str:
    with session.connect(home, home.site().vsphere) as v:
        (machine,) = v.collect("VirtualMachine", ["runtime.powerState"]).values()
    return str(machine["runtime.powerState"])


@pytest.mark.needs("qemu-img", "qemu-system-x86_64", "vcsim", "ssh-keygen")
def test_a_guest_comes_into_service_by_an_approved_plan_only_and_goes_back_without_asking(ready: Home) -> None:
    code, told = step(ready, "70")
    assert (code, "nobody has approved it" in told, "hikkoshi approve idp" in told) == (3, True, True), told
    assert power(ready) == "poweredOff"
    assert not (ready.folder("idp") / "cutover.json").exists()

    key = str(keys.folder(ready) / "approver")
    assert hikkoshi(ready, "approve", "idp", "--key", key, "--yes").returncode == 0
    code, told = step(ready, "70")
    assert (code, "approved by approver@lab until" in told) == (0, True), told
    assert power(ready) == "poweredOn"

    guest = ready.root / "params" / "guests" / "idp.yml"
    guest.write_text(guest.read_text() + "vm: { memory_mb: 2048 }\n")
    assert hikkoshi(ready, "run", "idp", "--only", "20").returncode == 0
    code, told = step(ready, "70")
    assert (code, "nothing of this plan stands in vSphere" in told) == (3, True), told

    (keys.folder(ready) / "allowed_signers").write_text("nonsense\n")
    code, told = step(ready, "75")
    assert code in (0, 3), told  # the lab's Dom-0 is a folder, where nothing can be started
    assert power(ready) == "poweredOff"


def survey() -> Survey:
    return Survey.model_validate_json((PROJECT / "tests/data/survey/gateway.json").read_bytes())


@pytest.fixture
def planned(home: Home) -> Home:
    keys.make(home)
    decided = plan.make(home, home.guest("gateway"), home.site(), survey())
    decided.save(home.folder("gateway"))
    converted(home.folder("gateway"))
    deployed(home.folder("gateway"), decided)
    return home


def typed(home: Home, key: Path, *answers: tuple[str, str]) -> tuple[int, str]:
    return on_a_terminal(home, "approve", "gateway", "--key", str(key), answers=answers)


@pytest.mark.needs("ssh-keygen")
def test_on_a_terminal_the_page_is_shown_and_the_guests_name_has_to_be_typed(planned: Home) -> None:
    key = keys.folder(planned) / "approver"
    code, told = typed(planned, key, (NAME, "yes"))
    assert (code, "nothing was approved" in told) == (3, True), told
    assert not approval.folder(planned, "gateway").exists()
    code, told = typed(planned, key, (NAME, "gateway"))
    assert code == 0, told
    assert "What cannot be undone" in told
    assert "You approve as approver@lab" in told
    assert approval.check(planned, "gateway", Plan.load(planned.folder("gateway")))


@pytest.mark.needs("ssh-keygen")
def test_a_passphrase_is_asked_for_on_the_terminal(planned: Home) -> None:
    key = keys.folder(planned) / "approver"
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", key], check=True, stdout=subprocess.PIPE)
    code, told = typed(planned, key, (NAME, "gateway"), ("passphrase", "open sesame"))
    assert code == 0, told
    assert approval.check(planned, "gateway", Plan.load(planned.folder("gateway")))


@pytest.mark.needs("vcsim", "ssh-keygen")
def test_the_gate_lets_the_approved_machine_into_service_and_none_that_was_made_since(
    planned: Home, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, folder = planned, planned.folder("gateway")
    disk = vcenter.disk(tmp_path_factory.mktemp("disk"))
    key = str(keys.folder(home) / "approver")
    with vcenter.start(home, disk) as world:
        decided = plan.make(home, home.guest("gateway"), home.site(), survey())
        decided.save(folder)
        small = decided.vm.model_copy(update={"disk_bytes": vcenter.MIB * 8})
        world.order = replace(world.order, spec=small, plan_hash=decided.hash)
        converted(folder, world.order.sha256)
        v = world.connect()
        made = world.deploy(v)
        assert hikkoshi(home, "approve", "gateway", "--key", key, "--yes").returncode == 0
        run = open_run("70-cutover", {"guest": "gateway", "mode": "apply", "home": str(home.root)})

        def start(_: object) -> object:
            return cutover.start(v, world.site.vsphere, world.order, run.permit(), source=lambda: vcenter.OFF, folder=folder)

        try:
            (machine,) = vm.ours(v, vcenter.BY.site, "gateway")
            other = "50000000-0000-0000-0000-00000000000b"  # vcsim gives a machine of the same name the same one again
            vcenter.by_hand(v, machine, instanceUuid=other, extraConfig=vcenter.options({vm.MACHINE: other}))
            with pytest.raises(Refused, match=f"(?s)what was approved is another machine.*{other}"):
                run.ensure("put it into service", holds=lambda: False, act=start)
            made.model_copy(update={"instance_uuid": other}).save(folder)
            with pytest.raises(Refused, match="superseded: of another machine"):
                run.ensure("put it into service", holds=lambda: False, act=start)
            (machine,) = vm.ours(v, vcenter.BY.site, "gateway")
            assert (machine.power, machine.plugged) == ("poweredOff", set())
            time.sleep(1)  # one person approves once a second at most
            assert hikkoshi(home, "approve", "gateway", "--key", key, "--yes").returncode == 0
            run.ensure("put it into service", holds=lambda: cutover.complete(v, world.order, folder), act=start)
        finally:
            run.close("completed")
        assert vm.again(v, machine).power == "poweredOn"
