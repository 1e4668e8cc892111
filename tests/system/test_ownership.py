"""Whose machine it is: nothing acts on one of another site folder, a clone, one of an earlier version, or one without marks."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

import vcenter
from hikkoshi.errors import Refused, StepFailed, VSphereError
from hikkoshi.params.home import Home
from hikkoshi.run.journal import Journal
from hikkoshi.vsphere import cutover, deployment, importing, inventory, vm
from hikkoshi.vsphere.order import Order
from hikkoshi.vsphere.session import Session
from hikkoshi_lab.proxy import Fault
from journey import permitted
from processes import hikkoshi
from vcenter import BY, OFF, World, by_hand, foreign, named, options, plug

pytestmark = pytest.mark.needs("vcsim", "qemu-img", "openssl")
OTHER = vm.Owner("0bad0000-0000-4000-8000-000000000002", "20261129T000001Z-60-deploy", "4712")


def clone(world: World, v: Session, machine: vm.VirtualMachine, name: str) -> vm.VirtualMachine:
    """A copy as the vSphere client makes it: with all marks, and an instanceUuid of its own."""
    place = inventory.place(v, world.site.vsphere)
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False)
    made = vm.VirtualMachine(v.wait(machine.thing.CloneVM_Task(place.folder, name, spec), "clone it"), {})
    return by_hand(v, made, extraConfig=options(vm.again(v, machine).marks))  # which vcsim does not copy


def earlier(world: World, v: Session, machine: vm.VirtualMachine) -> vm.VirtualMachine:
    """As the version before made it: no mark of a site."""
    gone = dict.fromkeys((vm.SITE, vm.RUN, vm.LOCK, vm.MACHINE, vm.STARTED), "")
    return by_hand(v, machine, extraConfig=options(gone))


def unplugged(card: Any) -> Any:
    """The change that pulls one NIC out."""
    card.connectable = vim.vm.device.VirtualDevice.ConnectInfo(startConnected=False, connected=False, allowGuestControl=True)
    return vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)


def state(machine: vm.VirtualMachine) -> tuple[Any, ...]:
    return machine.power, sorted(machine.plugged), sorted(machine.marks.items())


def serving(world: World, v: Session, by: vm.Owner = BY) -> vm.VirtualMachine:
    order = replace(world.order, owner=by)
    deployment.start(v, world.site.vsphere, order, world.folder)
    cutover.start(v, world.site.vsphere, order, world.permission, source=lambda: OFF, folder=world.folder)
    (machine,) = vm.ours(v, by.site, "gateway")
    return machine


STRANGERS: dict[str, Callable[[World, Session], vm.VirtualMachine]] = {
    "other": lambda w, v: serving(w, v, OTHER),
    "clone": lambda w, v: clone(w, v, serving(w, v), "gateway copy"),
    "earlier": lambda w, v: earlier(w, v, serving(w, v)),
    "nobody": lambda w, v: foreign(w, v, "gateway"),
}
ACTS: dict[str, Callable[[World, Session, vm.VirtualMachine], object]] = {
    "complete": lambda w, v, m: vm.complete(v, BY, m),
    "connect": lambda w, v, m: vm.connect(v, BY, m, permitted()),
    "unplug": lambda w, v, m: vm.connect(v, BY, m, False),
    "on": lambda w, v, m: vm.power(v, BY, m, permitted()),
    "off": lambda w, v, m: vm.power(v, BY, m, False),
    "remove": lambda w, v, m: vm.destroy_unfinished(v, BY, m),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_nothing_is_done_to_a_machine_that_is_not_ours(world: World, kind: str) -> None:
    v = world.connect()
    stranger = STRANGERS[kind](world, v)
    assert vm.whose(stranger, BY.site) == kind
    before = state(vm.again(v, stranger))
    for act in ACTS.values():
        with pytest.raises(Refused, match=r"not ours|is not removed"):
            act(world, v, stranger)
    cutover.roll_back(v, world.order)
    assert state(vm.again(v, stranger)) == before
    with pytest.raises(Refused, match="clone" if kind == "clone" else "name gateway is free"):
        deployment.start(v, world.site.vsphere, replace(world.order, plan_hash="b" * 64), world.folder)
    if kind != "clone":
        with pytest.raises(Refused, match="the machine is deployed"):
            cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)
    assert state(vm.again(v, stranger)) == before


def test_a_rollback_from_another_folder_leaves_the_first_ones_machine_in_service(world: World) -> None:
    v = world.connect()
    machine = serving(world, v, OTHER)
    second = Order.of(BY, "gateway", None, None, world.folder)
    assert cutover.rolled_back(v, second), "there is nothing of ours"
    cutover.roll_back(v, second)
    now = vm.again(v, machine)
    assert (now.power, len(now.plugged)) == ("poweredOn", 10)
    macs = [n.mac for n in world.order.nics]
    (row,) = cutover.strangers(v, second, macs)
    assert row
    assert f"of another site folder, {OTHER.site}" in row.found
    assert not cutover.alone(v, second, macs), "on, with the same MACs"


def test_the_rollback_of_a_second_folder_is_run_and_the_first_ones_machine_serves_on(world: World, tmp_path: Path) -> None:
    v = world.connect()
    machine = serving(world, v, OTHER)
    second = Home(tmp_path / "second")  # parameters of the same guest, and nothing else: no plan, no keys
    shutil.copytree(world.home.root / "params", second.root / "params")
    params = second.root / "params" / "site.yml"
    text = params.read_text().replace("127.0.0.1:8989", world.params().server)
    params.write_text(text.replace("outputs/lab/", f"{world.lab}/"))
    done = hikkoshi(second, "run", "gateway", "--apply", "--only", "75")
    now = vm.again(v, machine)
    assert (now.power, len(now.plugged), now.marks) == ("poweredOn", 10, machine.marks), done.stdout
    (notebook,) = (second.folder("gateway") / "runs").glob("*75-rollback.ipynb")
    assert f"left alone: {machine}" in notebook.read_text(), done.stdout + done.stderr
    assert OTHER.site in notebook.read_text()


def test_a_clone_is_listed_and_does_not_hinder_the_machine_that_it_was_made_of(world: World) -> None:
    v = world.connect()
    copy = clone(world, v, serving(world, v), "gateway copy")
    macs = [n.mac for n in world.order.nics]
    assert deployment.complete(v, world.order)
    assert cutover.complete(v, world.order, world.folder)
    (row,) = cutover.strangers(v, world.order, macs)
    assert row.title == f"left alone: {copy}"
    assert "a clone of a machine of ours" in row.found
    assert cutover.alone(v, world.order, macs), "it is off"
    v.wait(copy.thing.PowerOnVM_Task(), "switch it on by hand")
    check = cutover.alone(v, world.order, macs)
    assert (bool(check), f"--take {copy.id}" in check.remedy) == (False, True)
    cutover.roll_back(v, world.order)
    assert cutover.rolled_back(v, world.order)
    assert vm.again(v, copy).power == "poweredOn"


def test_a_machine_of_a_stranger_without_any_mark_that_has_our_macs_is_told(world: World) -> None:
    v = world.connect()
    old = foreign(world, v, "old", mac=world.order.nics[3].mac)
    by_hand(v, old, deviceChange=[plug(old, world.order.nics[3].mac)])
    v.wait(old.thing.PowerOnVM_Task(), "switch it on by hand")
    (row,) = cutover.strangers(v, world.order, [world.order.nics[3].mac.upper()])
    assert "not made by Hikkoshi" in row.found
    assert not cutover.alone(v, world.order, [world.order.nics[3].mac])


def test_a_machine_carries_its_site_its_run_and_itself(world: World) -> None:
    v = world.connect()
    done = world.deploy(v)
    (machine,) = vm.ours(v, BY.site, "gateway")
    marks = machine.marks
    assert (marks[vm.SITE], marks[vm.RUN], marks[vm.LOCK]) == (BY.site, BY.run, BY.lock)
    assert marks[vm.MACHINE] == machine.uuid == done.instance_uuid
    assert done.site == BY.site
    assert vm.STARTED not in marks
    cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)
    first = vm.again(v, machine).marks[vm.STARTED]
    cutover.roll_back(v, world.order)
    after = vm.again(v, machine).marks
    assert (after[vm.STARTED], vm.SERVICE in after) == (first, False)


def half_made(world: World, v: Session, by: vm.Owner) -> vm.VirtualMachine:
    """What an import of this owner's looks like before its end."""
    deployment.start(v, world.site.vsphere, replace(world.order, owner=by), world.folder)
    (machine,) = vm.ours(v, by.site, "gateway")
    return by_hand(v, machine, extraConfig=options({vm.COMPLETE: "", vm.MACHINE: ""}))


class TestUnfinished:
    def test_one_operators_deploy_does_not_remove_what_another_is_uploading(self, world: World) -> None:
        v, second = world.connect(), world.connect()
        seen: list[object] = []
        theirs = replace(world.order, owner=OTHER)

        def meanwhile() -> None:
            for order in (theirs, replace(world.order, owner=replace(BY, lock="4713"))):
                with pytest.raises(Refused) as e:
                    deployment.start(second, world.site.vsphere, order, world.folder)
                seen.append([p.what for p in e.value.problems])
                importing._clean(second, "gateway", order.owner)

        world.proxy.faults.at = (4 * vcenter.MIB, meanwhile)
        world.deploy(v)
        assert deployment.complete(v, world.order)
        assert seen == [
            ["a check failed: the name gateway is free", "a check failed: no other machine has one of the MACs"],
            ["a check failed: nobody else is at work on an import of gateway"],
        ]

    def test_a_machine_that_became_complete_while_its_removal_was_tried_again_stays(self, world: World) -> None:
        v = world.connect()
        machine = half_made(world, v, BY)
        world.proxy.faults.soap["Destroy_Task"] = Fault("TaskInProgress", times=1)
        with pytest.raises(Refused, match="it is complete"):
            vm.destroy_unfinished(v, BY, machine, lambda done, total, words: vm.complete(v, BY, machine))
        assert named(v) == ["gateway"]

    def test_one_that_somebody_removed_meanwhile_is_gone(self, world: World) -> None:
        v = world.connect()
        machine = half_made(world, v, BY)
        v.wait(machine.thing.Destroy_Task(), "remove it by hand")
        vm.destroy_unfinished(v, BY, machine)

    def test_a_failed_import_cleans_up_what_its_own_run_made_and_nothing_else(self, world: World) -> None:
        v = world.connect()
        half_made(world, v, OTHER)
        spec = world.order.spec
        assert spec is not None
        nics = tuple(n.model_copy(update={"mac": n.mac.replace("00:16:3e", "00:50:56")}) for n in spec.nics)
        order = replace(world.order, spec=spec.model_copy(update={"name": "gateway-2", "nics": nics}))
        world.proxy.faults.cut_after = 4 * vcenter.MIB
        with pytest.raises(VSphereError, match="upload was cut off"):
            deployment.start(v, world.site.vsphere, order, world.folder)
        assert named(v) == ["gateway"]

    def test_what_a_copy_of_this_folder_left_is_removed_once_a_person_has_said_so(self, world: World) -> None:
        v = world.connect()
        left = half_made(world, v, replace(BY, lock="4713"))
        with pytest.raises(Refused, match=f"--take {left.id}"):
            world.deploy(v)
        vm.take(v, BY, "gateway", left.id)
        world.deploy(v)
        (made,) = vm.ours(v, BY.site, "gateway")
        assert made.id != left.id


class TestTakingOver:
    def test_a_machine_of_an_earlier_version_is_ours_afterwards_and_can_be_rolled_back(self, world: World) -> None:
        v = world.connect()
        old = earlier(world, v, serving(world, v))
        taken = vm.take(v, BY, "gateway", old.id)
        assert vm.whose(taken, BY.site) == "ours"
        assert taken.marks[vm.STARTED] == old.marks[vm.SERVICE]
        assert cutover.complete(v, world.order, world.folder)
        cutover.roll_back(v, world.order)
        assert vm.again(v, old).power == "poweredOff"

    def test_of_one_that_was_never_started_it_is_not_said_that_it_was_and_a_person_removes_it(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        old = earlier(world, v, vm.ours(v, BY.site, "gateway")[0])
        taken = vm.take(v, BY, "gateway", old.id)
        assert vm.STARTED not in taken.marks
        assert deployment.recorded(v, world.order, world.folder), "70 and the approver find it as it is"
        other = replace(world.order, plan_hash="b" * 64)
        (red,) = [c for c in deployment.checks(v, world.site.vsphere, other) if not c]
        assert "taken over at" in red.found
        assert "nobody knows whether it ever served" in red.found
        assert "put into service" not in red.found
        assert "remove it in the vSphere client" in red.remedy

    def test_one_that_was_in_service_is_said_to_have_been_since_then(self, world: World) -> None:
        v = world.connect()
        old = earlier(world, v, serving(world, v))
        since = old.marks[vm.SERVICE]
        assert vm.take(v, BY, "gateway", old.id).marks[vm.STARTED] == since

    def test_what_an_earlier_version_left_unfinished_is_removed_by_the_next_import(self, world: World) -> None:
        v = world.connect()
        left = earlier(world, v, half_made(world, v, BY))
        with pytest.raises(Refused, match=f"--take {left.id}"):
            world.deploy(v)
        vm.take(v, BY, "gateway", left.id)
        world.deploy(v)
        (made,) = vm.ours(v, BY.site, "gateway")
        assert made.id != left.id
        assert deployment.recorded(v, world.order, world.folder)

    def test_a_clone_under_another_name_is_deployed_once_it_is_renamed_as_its_row_says(self, world: World) -> None:
        v = world.connect()
        original = serving(world, v)
        copy = clone(world, v, original, "gateway copy")
        v.wait(original.thing.PowerOffVM_Task(), "switch it off by hand")
        v.wait(original.thing.Destroy_Task(), "remove it by hand")
        for card in copy.nics.values():
            copy = by_hand(v, copy, deviceChange=[unplugged(card)])
        taken = vm.take(v, BY, "gateway", copy.id)
        assert vm.SERVICE not in taken.marks, "it never was"
        with pytest.raises(StepFailed) as e:
            world.deploy(v)
        assert f"rename gateway copy ({copy.id}) to gateway" in e.value.problems[0].remedy
        by_hand(v, copy, name="gateway")
        made = world.deploy(v)
        assert made.instance_uuid == copy.uuid
        assert "nobody knows what was done with its disk" in made.manifest, "the approver is told"
        assert all(cutover.checks(v, world.order, world.folder))
        cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)

    def test_a_clone_is_taken_over_only_where_its_original_is_gone(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        (original,) = vm.ours(v, BY.site, "gateway")
        copy = clone(world, v, original, "gateway copy")
        with pytest.raises(Refused, match="is ours already"):
            vm.take(v, BY, "gateway", copy.id)
        v.wait(original.thing.Destroy_Task(), "remove it by hand")
        assert vm.take(v, BY, "gateway", copy.id).marks[vm.MACHINE] == copy.uuid
        assert [m.id for m in vm.ours(v, BY.site, "gateway")] == [copy.id]

    def test_a_machine_of_another_site_is_not_taken_and_its_identity_is_told(self, world: World) -> None:
        v = world.connect()
        machine = serving(world, v, OTHER)
        before = state(vm.again(v, machine))
        with pytest.raises(Refused, match=OTHER.site):
            vm.take(v, BY, "gateway", machine.id)
        assert state(vm.again(v, machine)) == before

    @pytest.mark.parametrize("guest", ["gateway", "idp"])
    def test_what_carries_no_mark_of_the_guest_is_not_taken(self, world: World, guest: str) -> None:
        v = world.connect()
        stranger = foreign(world, v, "old") if guest == "gateway" else earlier(world, v, serving(world, v))
        with pytest.raises(Refused, match=f"carries the mark of {guest}"):
            vm.take(v, BY, guest, stranger.id)

    def test_the_command_lists_takes_and_journals(self, world: World) -> None:
        params = world.home.root / "params" / "site.yml"
        params.write_text(params.read_text().replace("127.0.0.1:8989", world.params().server))
        v = world.connect()
        old = earlier(world, v, serving(world, v))
        (world.folder / "deployment.json").unlink()  # which no earlier version wrote like this
        identity = world.home.identity()
        listed = hikkoshi(world.home, "machines")
        assert listed.returncode == 0, listed.stderr
        assert identity in listed.stdout
        assert "of an earlier version" in listed.stdout
        done = hikkoshi(world.home, "machines", "gateway", "--take", old.id, "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["site"], told["machines"][0]["whose"]) == (identity, "ours")
        (entry,) = Journal(world.folder / "journal.jsonl").entries()
        assert (entry["event"], entry["id"]) == ("take", old.id)
        assert (vm.SITE in entry["before"], entry["marks"][vm.SITE]) == (False, identity)
        again = hikkoshi(world.home, "machines", "gateway", "--take", old.id)
        assert (again.returncode, "nothing to do" in again.stderr) == (3, True)
