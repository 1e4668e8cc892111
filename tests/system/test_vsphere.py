"""A machine into a running vCenter (vcsim), through a proxy that keeps the bytes and breaks things."""

import hashlib
import http.client
import json
import os
import queue
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

import vcenter
from hikkoshi.approval import capacity
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, HikkoshiError, Refused, StepFailed, VSphereError
from hikkoshi.guest.facts import Interface
from hikkoshi.params.home import Home
from hikkoshi.vsphere import cutover, deployment, inventory, readback, session, tls, vm
from hikkoshi.vsphere.order import Order
from hikkoshi.vsphere.preflight import elsewhere, ports, readiness
from hikkoshi.vsphere.session import Session
from hikkoshi_lab import certificate, proxy, site, vcsim
from hikkoshi_lab.proxy import Fault
from journey import survey
from processes import PATIENCE, free_port, hikkoshi
from vcenter import BY, MIB, OFF, World, by_hand, foreign, named, options, plug

pytestmark = pytest.mark.needs("vcsim", "qemu-img", "openssl")


def red(world: World, v: Session, wanted: Order | None = None) -> list[Check]:
    return [c for c in deployment.checks(v, world.site.vsphere, wanted or world.order) if not c]


def changed(world: World, **changes: Any) -> Order:
    assert world.order.spec is not None
    return replace(world.order, spec=world.order.spec.model_copy(update=changes))


def ours(world: World) -> dict[str, str]:
    return {vm.GUEST: "gateway", vm.SITE: world.home.identity()}


class TestConnecting:
    def test_a_session_says_whose_it_is(self, world: World) -> None:
        assert "administrator" in str(world.connect())

    def test_the_right_pin_replaces_the_authority(self, world: World) -> None:
        assert named(world.connect(ca=None, sha256=fingerprint(world.lab))) == []

    def test_a_wrong_pin_ends_before_anything_is_said(self, world: World) -> None:
        world.proxy.calls.clear()
        with pytest.raises(BadInput, match="certificate is not the expected one") as e:
            world.connect(ca=None, sha256="ab" * 32)
        assert e.value.exit_code == 2
        assert fingerprint(world.lab) in e.value.problems[0].found
        assert world.proxy.calls == []

    def test_a_pin_is_checked_on_every_connection(self, world: World, tmp_path: Path) -> None:
        certificate.make(tmp_path / "other")
        context = tls.PinnedContext(fingerprint(world.lab))
        with proxy.start(world.server, world.lab, tmp_path) as right:
            get(right.port, context)
        for name in (certificate.CERTIFICATE, certificate.KEY):
            (tmp_path / "mixed").mkdir(exist_ok=True)
            (tmp_path / "mixed" / name).write_bytes((tmp_path / "other" / name).read_bytes())
        (tmp_path / "mixed" / certificate.CA).write_bytes((world.lab / certificate.CA).read_bytes())
        with (
            proxy.start(world.server, tmp_path / "mixed", tmp_path) as wrong,
            pytest.raises(OSError, match=r"^its sha256 fingerprint is"),
        ):
            get(wrong.port, context)
        with proxy.start(world.server, world.lab, tmp_path) as right:
            get(right.port, context)

    def test_an_unknown_authority_is_refused(self, world: World, tmp_path: Path) -> None:
        certificate.make(tmp_path)
        world.proxy.calls.clear()
        with pytest.raises(BadInput, match="certificate is not the expected one") as e:
            world.connect(ca=tmp_path / certificate.CA)
        assert e.value.exit_code == 2
        assert world.proxy.calls == []

    def test_a_certificate_for_another_name_is_refused(self, world: World) -> None:
        address = f"127.0.0.2:{free_port('127.0.0.2')}"
        with vcsim.start(world.lab, listen=address), pytest.raises(BadInput, match="certificate is not the expected one") as e:
            world.connect(server=address)
        assert "127.0.0.2" in e.value.problems[0].found

    def test_a_wrong_password_is_bad_input_and_never_shown(self, world: World) -> None:
        (world.lab / "wrong").write_text("correct horse battery\n")
        (world.lab / "wrong").chmod(0o600)
        with pytest.raises(BadInput, match="does not accept user and password") as e:
            world.connect(password="file:outputs/lab/wrong")
        assert e.value.exit_code == 2
        assert "correct horse" not in str(e.value)

    def test_a_closed_port_is_told_with_the_address(self, world: World) -> None:
        world.server.end()
        with pytest.raises(VSphereError, match=f"127.0.0.1:{world.server.port}"):
            world.connect(server=f"127.0.0.1:{world.server.port}")

    def test_a_server_that_hangs_is_given_up_in_time(self, world: World) -> None:
        v = world.connect(timeout=5, server=f"127.0.0.1:{world.server.port}")
        os.kill(world.server.pid, signal.SIGSTOP)
        start = time.monotonic()
        try:
            with pytest.raises(VSphereError, match="timed out"):
                named(v)
        finally:
            os.kill(world.server.pid, signal.SIGCONT)
        assert time.monotonic() - start < PATIENCE

    def test_a_session_that_ended_is_opened_again_for_reading(self, world: World) -> None:
        v = world.connect()
        v.content.sessionManager.Logout()
        assert named(v) == []


class TestPreflight:
    def test_everything_is_green_in_the_lab(self, world: World) -> None:
        assert red(world, world.connect()) == []

    def test_before_a_plan_only_the_plan_is_missing(self, world: World) -> None:
        nothing = Order.of(BY, "gateway", None, None, world.folder)
        found = red(world, world.connect(), nothing)
        assert [c.title for c in found] == ["the guest is planned", "its disk is converted"]
        assert all(c.later for c in found)

    def test_another_vlan_than_planned_is_told_with_both(self, world: World) -> None:
        assert world.order.spec is not None
        first, *rest = world.order.spec.nics
        (check,) = red(world, world.connect(), changed(world, nics=(first.model_copy(update={"vlan": 999}), *rest)))
        assert ("VLAN 301" in check.found, "VLAN 999" in check.expected) == (True, True)

    def test_the_capacity_is_that_of_the_cluster_with_its_running_machines(self, world: World) -> None:
        v = world.connect()
        place = inventory.place(v, world.site.vsphere)
        before = inventory.capacity(v, place)
        assert (before.hosts, len(before.memory), before.running) == (3, 3, 0)
        assert 0 < before.free <= before.room
        made = foreign(world, v, "old")
        v.wait(made.thing.PowerOnVM_Task(), "switch it on")
        after = inventory.capacity(v, place)
        assert (after.machines, after.running) == (before.machines + 1, 1)
        assert (after.taken, after.spare) == (64 * MIB, before.spare - 64 * MIB)

    def test_the_doctor_tells_each_segment_with_its_port_group_and_ends_with_1_where_one_has_another_vlan(
        self, world: World
    ) -> None:
        path = world.home.site_file
        text = path.read_text().replace("server: 127.0.0.1:8989", f"server: 127.0.0.1:{world.server.port}")
        path.write_text(text)
        good = hikkoshi(world.home, "doctor", "--site", "--json")
        rows = {row["segment"]: row for row in json.loads(good.stdout)["segments"]}
        assert (good.returncode, {row[""] for row in rows.values()}) == (0, {"ok"})
        assert (rows["vlan304"]["vSphere has"], rows["vlan304"]["NICs of guests"]) == ("distributed, VLAN 304", "gateway")
        path.write_text(text.replace("vlan: 304,", "vlan: 999,"))
        bad = hikkoshi(world.home, "doctor", "--site", "--json")
        red = [row["segment"] for row in json.loads(bad.stdout)["segments"] if row[""] == "red"]
        assert (bad.returncode, red) == (1, ["vlan304"])

    def test_a_guest_goes_to_the_vsphere_that_it_names_and_both_are_told(self, world: World) -> None:
        home, lab = world.home, world.home.outputs / "hospital"
        server = world.stack.enter_context(vcsim.start(lab))
        text = home.site_file.read_text().replace("server: 127.0.0.1:8989", f"server: 127.0.0.1:{world.server.port}")
        ours = re.search(r"^vsphere:\n((?:  .*\n)+)", text, re.MULTILINE)
        assert ours
        theirs = ours[1].replace(f":{world.server.port}", f":{server.port}").replace("outputs/lab/", "outputs/hospital/")
        home.site_file.write_text(f"{text}vspheres:\n  hospital:\n{textwrap.indent(theirs, '  ')}")
        file = home.guest_file("gateway")
        file.write_text(file.read_text().replace("name: gateway\n", "name: gateway\nvsphere: hospital\n"))
        to = home.site("gateway")
        v = world.stack.enter_context(session.connect(home, to.vsphere))
        site.shape(v, to, lab / "tmp", lambda words: None)

        def others() -> Check:
            (found,) = elsewhere.checks(home, to, home.guest("gateway"))
            return found

        assert others()
        world.deploy()
        red = others()
        assert not red
        assert re.fullmatch(r"gateway \(vm-\d+\), poweredOff, 0 of 10 NICs plugged in", red.found)
        deployment.start(v, to.vsphere, world.order, world.folder)
        (home.outputs / "identity").write_text(f"{BY.site}\n")
        told = json.loads(hikkoshi(home, "machines", "--json").stdout)["machines"]
        assert {m["server"] for m in told} == {f"127.0.0.1:{port}" for port in (world.server.port, server.port)}
        asked = json.loads(hikkoshi(home, "doctor", "--site", "--json").stdout)
        rows = {(row["vSphere"], row["segment"]): row["NICs of guests"] for row in asked["segments"]}
        assert rows[f"127.0.0.1:{server.port}", "vlan304"] == "gateway"
        assert rows[f"127.0.0.1:{world.server.port}", "vlan304"] == ""
        world.server.end()
        gone = others()
        assert (gone.ok, "gone for good" in gone.remedy) == (False, True)

    def test_a_guest_that_is_there_already_is_no_longer_planned(self, world: World) -> None:
        v, spec = world.connect(), world.order.spec
        assert spec is not None
        place = inventory.place(v, world.site.vsphere)

        def planned() -> str:
            return capacity.look(v, world.home, world.site, place, {"gateway": spec}).rows()[-1]["planned"]

        assert planned() == "1: gateway"
        machine = foreign(world, v, "gateway")
        v.wait(machine.thing.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=options(ours(world)))), "mark it")
        assert planned() == "none"

    @pytest.mark.parametrize("group", ["dv-vlan399", "DVS0-DVUplinks-8", "VM Network"])
    def test_a_port_group_that_is_absent_or_no_vlan_of_ours_is_refused(self, world: World, group: str) -> None:
        assert world.order.spec is not None
        first, *rest = world.order.spec.nics
        found = red(world, world.connect(), changed(world, nics=(first.model_copy(update={"port_group": group}), *rest)))
        assert [c for c in found if c.title.startswith("eth0") and group in c.expected]

    def test_a_foreign_machine_of_that_name_is_in_the_way(self, world: World) -> None:
        v = world.connect()
        foreign(world, v, "gateway")
        (check,) = red(world, v)
        assert check.title == "the name gateway is free"
        with pytest.raises(Refused, match="the name gateway is free"):
            world.deploy(v)
        assert named(v) == ["gateway"]

    def test_a_mac_in_use_elsewhere_is_told_with_the_machine(self, world: World) -> None:
        v = world.connect()
        foreign(world, v, "old", mac="00:16:3E:05:00:03")
        (check,) = red(world, v)
        assert check.found.startswith("00:16:3e:05:00:03 by old (vm-")
        assert check.found.endswith("not made by Hikkoshi")

    def test_a_datastore_without_room_is_refused(self, world: World) -> None:
        check, too_large = sorted(red(world, world.connect(), changed(world, disk_bytes=4 << 40)), key=lambda c: c.code)
        assert too_large.code == "disk-fits-target"
        assert check.title == "the datastore storage1 has room"
        assert "3.0 TiB free" in check.found

    def test_hosts_in_maintenance_are_no_place(self, world: World) -> None:
        v = world.connect()
        maintenance(v)
        (check,) = red(world, v)
        assert check.found.count("in maintenance mode") == 3
        with pytest.raises(Refused, match="a host can take the machine"):
            world.deploy(v)

    @pytest.mark.parametrize("key", ["datacenter", "cluster", "datastore", "folder"])
    def test_a_misspelt_name_is_told_with_what_there_is(self, world: World, key: str) -> None:
        params = world.site.vsphere.model_copy(update={key: {"folder": "vm/migrated"}.get(key, "storag1")})
        assert world.order.spec is not None
        (check,) = readiness.site_checks(world.connect(), params, world.order.spec, "gateway", BY.site)
        assert not check
        assert check.expected
        with pytest.raises(Refused):
            inventory.place(world.connect(), params)

    def test_a_hardware_version_that_the_cluster_lacks_is_refused(self, world: World) -> None:
        (check,) = red(world, world.connect(), changed(world, hardware_version=22))
        assert check.expected == "vmx-22"

    def test_privileges_that_our_user_lacks_are_told_with_where(self, home: Home, vmdk: Path) -> None:
        with vcenter.start(home, vmdk, "-without", "VApp.Import,Network.Assign") as world:
            (check,) = red(world, world.connect())
            assert check.code == "privileges-granted"
            assert "VApp.Import on the resource pool" in check.found
            assert check.found.count("Network.Assign on the port group dv-vlan") == 10

    def test_privileges_that_the_server_does_not_tell_are_not_seen(self, world: World) -> None:
        world.proxy.faults.soap["HasPrivilegeOnEntities"] = Fault("NotSupported")
        assert world.order.spec is not None
        found = readiness.site_checks(world.connect(), world.site.vsphere, world.order.spec, "gateway", BY.site)
        assert [(c.ok, c.unseen) for c in found if c.code == "privileges-granted"] == [(True, "not seen")]

    def test_a_port_group_that_rejects_what_the_guest_sends_stops_until_the_site_lowers_that_rule(self, world: World) -> None:
        v, spec = world.connect(), world.order.spec
        assert spec is not None
        policy = vim.dvs.VmwareDistributedVirtualSwitch.SecurityPolicy
        strict = policy(forgedTransmits=vim.BoolPolicy(value=False, inherited=False))
        vcenter.reconfigure(v, "dv-vlan301", 301, securityPolicy=strict)
        own = Interface(name="eth0", file="ifcfg-eth0", own_mac="02:00:00:00:00:01", own_mac_by="MACADDR")
        guest = survey().guest.model_copy(update={"interfaces": (own,)})
        (found,) = ports.checks(v, world.site.vsphere, spec, guest)
        assert not found
        assert "dv-vlan301 rejects forged transmits, which eth0 needs: MACADDR in ifcfg-eth0" in found.found
        lowered = world.site.vsphere.model_copy(update={"lowered": {"port-group-passes-macs": "nobody else is in that VLAN"}})
        (told,) = ports.checks(v, lowered, spec, guest)
        assert (told.ok, told.unseen) == (True, "lowered")
        assert told.found.endswith("nobody else is in that VLAN")

    def test_the_clocks_of_the_server_and_of_the_host_are_asked_for(self, world: World) -> None:
        assert world.order.spec is not None
        found = readiness.site_checks(world.connect(), world.site.vsphere, world.order.spec, "gateway", BY.site)
        (clocks,) = (c for c in found if c.code == "clocks-agree")
        assert (clocks.ok, clocks.unseen) == (True, "")
        assert clocks.found.startswith("server +0 s") or clocks.found.startswith("server -0 s")

    def test_a_rule_that_guards_others_is_lowered_by_nobody(self, world: World) -> None:
        v = world.connect()
        foreign(world, v, "gateway")
        lowered = world.site.vsphere.model_copy(update={"lowered": {"machine-name-free": "never mind"}})
        with pytest.raises(Refused) as told:
            deployment.start(v, lowered, world.order, world.folder)
        assert [p.code for p in told.value.problems] == ["machine-name-free", "rule-can-be-lowered"]

    def test_operating_systems_that_the_server_does_not_tell_are_not_seen(self, world: World) -> None:
        # vcsim's answer lacks what pyVmomi insists on
        assert world.order.spec is not None
        found = readiness.site_checks(world.connect(), world.site.vsphere, world.order.spec, "gateway", BY.site)
        assert [(c.ok, c.unseen) for c in found if c.code == "guest-id-possible"] == [(True, "not seen")]


class TestDeployment:
    @pytest.mark.parametrize("kind", ["thin", "thick", "eager"])
    def test_its_disk_takes_the_room_that_the_plan_says(self, world: World, kind: str) -> None:
        v = world.connect()
        order = changed(world, provisioning=kind)
        deployment.start(v, world.site.vsphere, order, world.folder)
        (machine,) = vm.marked(v, "gateway")
        backing = next(d.backing for d in machine.devices if isinstance(d, vim.vm.device.VirtualDisk))
        assert (bool(backing.thinProvisioned), bool(backing.eagerlyScrub)) == (kind == "thin", kind == "eager")
        place = inventory.place(v, world.site.vsphere)
        other = order.spec.model_copy(update={"provisioning": "eager" if kind == "thick" else "thick"})
        red = [c.code for c in readback.compare(machine, other, place) if not c]
        assert red == ["machine-disks-provisioned"]

    def test_the_bytes_that_arrive_are_the_disks(self, world: World, vmdk: Path) -> None:
        done = world.deploy()
        (received,) = world.proxy.received
        assert received.read_bytes() == vmdk.read_bytes()
        assert (done.vmdk_sha1, done.vmdk_bytes) == (hashlib.sha1(vmdk.read_bytes()).hexdigest(), vmdk.stat().st_size)
        assert done.manifest.startswith("manifest agrees")
        assert deployment.Deployment.load(world.folder) == done

    def test_where_there_is_no_machine_yet_nobody_is_sent_to_unplug_its_nics(self, world: World) -> None:
        check = deployment.unplugged(world.connect(), world.order)
        assert (bool(check), check.found, check.remedy) == (False, "no machine yet", "")

    def test_where_there_is_no_disk_yet_none_is_named(self, world: World) -> None:
        check = deployment.complete(world.connect(), replace(world.order, sha256=""))
        assert (check.found, check.expected) == ("no disk yet", "one complete machine of this plan and its disk")

    def test_everything_is_read_back_and_every_nic_unplugged(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        checks = deployment.read_back(v, world.site.vsphere, world.order)
        assert [c for c in checks if not c] == []
        assert deployment.unplugged(v, world.order)
        rows = [c.row(plugged=False) for c in deployment.nic_places(v, world.site.vsphere, world.order)]
        assert [r["in vSphere"] for r in rows] == [r["planned"] for r in rows]
        assert [(r["at power-on"], r["verdict"]) for r in rows] == [("unplugged", "ok")] * 10
        first, second, *rest = world.order.nics
        foreign = first.model_copy(update={"mac": "00:16:3e:00:00:99"}), second.model_copy(update={"vlan": 4000})
        elsewhere = changed(world, nics=(*foreign, *rest))
        found = deployment.nic_places(v, world.site.vsphere, elsewhere)
        assert [c.row(plugged=True)["verdict"] for c in found] == ["not there", "✘ not as planned", *["not connected"] * 8]
        assert [c.misplaced for c in found] == [False, True, *[False] * 8]
        assert [c.found for c in found[:2]] == ["not there yet", f"{second.port_group}, VLAN {second.vlan}, unplugged"]

    def test_a_guest_that_starts_by_uefi_gets_a_machine_that_does(self, world: World) -> None:
        v, other = world.connect(), world.order
        world.order = changed(world, firmware="efi")
        world.deploy(v)
        assert [c for c in deployment.read_back(v, world.site.vsphere, world.order) if not c] == []
        assert [c.code for c in deployment.read_back(v, world.site.vsphere, other) if not c] == ["machine-firmware"]

    def test_done_is_done(self, world: World) -> None:
        v = world.connect()
        assert not deployment.complete(v, world.order)
        world.deploy(v)
        assert deployment.complete(v, world.order)
        assert red(world, v) == []

    def test_where_the_mark_of_completeness_cannot_be_written_neither_machine_nor_record_is_left(self, world: World) -> None:
        v = world.connect()
        world.proxy.faults.soap["ReconfigVM_Task"] = Fault("InvalidState")
        with pytest.raises(VSphereError, match=r"write hikkoshi\.machine, hikkoshi\.complete"):
            world.deploy(v)
        assert named(v) == []
        assert deployment.Deployment.find(world.folder) is None
        world.deploy(v)
        assert deployment.recorded(v, world.order, world.folder)

    @pytest.mark.parametrize("harm", ["lost", "damaged", "of another machine"])
    def test_a_lost_record_of_the_machine_that_stands_there_is_written_anew(self, world: World, harm: str) -> None:
        v = world.connect()
        done, path = world.deploy(v), world.folder / "deployment.json"
        assert deployment.recorded(v, world.order, world.folder)
        (machine,) = vm.ours(v, BY.site, "gateway")
        match harm:
            case "lost":
                path.unlink()
            case "damaged":
                path.write_text("{")
            case _:
                done.model_copy(update={"instance_uuid": "another"}).save(world.folder)
        check = deployment.recorded(v, world.order, world.folder)
        assert (bool(check), "does not tell of it" in check.found) == (False, True)
        made = world.deploy(v)
        assert [m.id for m in vm.ours(v, BY.site, "gateway")] == [machine.id], "nothing was imported again"
        same = ("guest", "site", "server", "moid", "instance_uuid", "host", "plan_hash", "vmdk_bytes", "vmdk_sha256", "nics")
        assert [getattr(made, n) for n in same] == [getattr(done, n) for n in same]
        assert "written anew" in made.manifest
        assert deployment.recorded(v, world.order, world.folder)
        assert cutover.deployed(v, world.order, world.folder)

    @pytest.mark.parametrize("of", [vm.PLAN, vm.VMDK])
    def test_an_import_of_an_earlier_plan_or_disk_that_was_never_started_is_replaced(self, world: World, of: str) -> None:
        v = world.connect()
        world.deploy(v)
        (earlier,) = vm.ours(v, BY.site, "gateway")
        by_hand(v, earlier, extraConfig=options({of: "b" * 64}))
        assert not deployment.complete(v, world.order)
        assert red(world, v) == []
        check = deployment.no_earlier(v, world.order)
        assert (bool(check), str(earlier) in check.found) == (False, True), "the row of plan mode names it"
        with pytest.raises(Refused, match="no machine of an earlier plan or disk is left"):
            world.deploy(v)
        deployment.remove_earlier(v, world.order)
        assert deployment.no_earlier(v, world.order)
        world.deploy(v)
        (made,) = vm.ours(v, BY.site, "gateway")
        assert made.id != earlier.id

    def test_nothing_is_removed_before_there_is_a_disk_to_replace_it(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        with pytest.raises(Refused, match="no disk yet"):
            deployment.remove_earlier(v, replace(world.order, sha256=""))
        assert named(v) == ["gateway"]

    def test_one_of_whose_past_vsphere_tells_too_little_is_never_removed(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        (machine,) = vm.ours(v, BY.site, "gateway")
        v.wait(machine.thing.PowerOnVM_Task(), "on")
        v.wait(machine.thing.PowerOffVM_Task(), "off")
        place, path = inventory.place(v, world.site.vsphere), v.read(machine.thing, "config.files.vmPathName")
        machine.thing.UnregisterVM()  # its events go with it
        register = place.folder.RegisterVM_Task(path["config.files.vmPathName"], "gateway", False, place.pool)
        found = vm.again(v, vm.VirtualMachine(v.wait(register, "register it anew"), {}))
        marks = {**machine.marks, vm.MACHINE: found.uuid, vm.COMPLETE: "2026-11-22T00:00:00+00:00"}  # an hour or more ago
        now = by_hand(v, found, extraConfig=options(marks))  # vcsim forgets them
        newer = replace(world.order, plan_hash="b" * 64)
        assert "not seen" in deployment.never_started(v, newer, now)
        with pytest.raises(Refused, match="is not removed"):
            deployment.remove_earlier(v, newer)
        assert named(v) == ["gateway"]

    @pytest.mark.parametrize(
        ("use", "why"),
        [
            (lambda w, v, m: served(w, v), "it was put into service at"),
            (lambda w, v, m: v.wait(m.thing.PowerOnVM_Task(), "on"), "poweredOn"),
            (
                lambda w, v, m: (v.wait(m.thing.PowerOnVM_Task(), "on"), v.wait(m.thing.PowerOffVM_Task(), "off")),
                "it was switched on at",
            ),
            (lambda w, v, m: v.wait(m.thing.CreateSnapshot_Task("before", "", False, False), "snap"), "snapshot"),
            (lambda w, v, m: by_hand(v, m, deviceChange=[plug(m, "00:16:3e:05:00:04")]), "1 NICs plugged in"),
            (lambda w, v, m: by_hand(v, m, extraConfig=options({vm.SITE: "another"})), "another site folder"),
            (lambda w, v, m: by_hand(v, m, extraConfig=options({vm.MACHINE: "another"})), "clone"),
        ],
        ids=["served", "on", "was on", "snapshot", "plugged in", "of others", "clone"],
    )
    def test_one_that_anybody_has_used_is_never_removed(
        self, world: World, use: Callable[[World, Session, vm.VirtualMachine], object], why: str
    ) -> None:
        v = world.connect()
        world.deploy(v)
        (machine,) = vm.ours(v, BY.site, "gateway")
        newer = replace(world.order, plan_hash="b" * 64)
        assert deployment.never_started(v, newer, machine) == ""
        use(world, v, machine)
        now = vm.again(v, machine)
        assert why in deployment.never_started(v, newer, now)
        with pytest.raises(Refused, match="is not removed"):
            vm.destroy(v, machine, lambda m: deployment.never_started(v, newer, m), "remove it")
        if vm.whose(now, BY.site) == "ours":
            assert [c.title for c in red(world, v, newer)] == ["a machine of an earlier plan or disk was never started"]
            with pytest.raises(Refused, match="is not removed"):
                deployment.remove_earlier(v, newer)
        else:
            deployment.remove_earlier(v, newer)
        assert named(v) == ["gateway"]

    def test_a_flipped_byte_is_found_and_nothing_is_left(self, world: World) -> None:
        world.proxy.faults.flip = 3 * MIB
        v = world.connect()
        with pytest.raises(StepFailed, match="other bytes than were sent"):
            world.deploy(v)
        assert named(v) == []
        assert not (world.folder / "deployment.json").exists()

    def test_a_cut_upload_leaves_nothing_and_the_next_run_finishes(self, world: World, vmdk: Path) -> None:
        world.proxy.faults.cut_after = 4 * MIB
        v = world.connect()
        with pytest.raises(VSphereError, match="upload was cut off"):
            world.deploy(v)
        assert 4 * MIB <= world.proxy.received[0].stat().st_size < vmdk.stat().st_size
        assert named(v) == []
        world.proxy.faults.cut_after = None
        world.deploy(v)
        assert named(v) == ["gateway"]

    def test_a_host_that_refuses_the_upload_is_quoted(self, world: World) -> None:
        world.proxy.faults.status = 503
        v = world.connect()
        with pytest.raises(VSphereError, match="upload") as e:
            world.deploy(v)
        assert e.value.problems[0].found
        assert named(v) == []

    def test_a_server_gone_in_mid_upload_is_told_and_the_next_run_finishes(self, world: World) -> None:
        world.proxy.faults.at = (4 * MIB, lambda: os.kill(world.server.pid, signal.SIGKILL))
        with pytest.raises(VSphereError, match="upload was cut off"):
            world.deploy()
        assert not (world.folder / "deployment.json").exists()
        world.server.end()
        world.restart()
        world.deploy()
        assert named(world.connect()) == ["gateway"]

    def test_after_kill_9_the_half_made_machine_is_replaced(self, world: World) -> None:
        program = (
            "import sys; from pathlib import Path; from hikkoshi.params.home import Home\n"
            "from hikkoshi.vsphere import session, deployment, vm; from hikkoshi.vsphere.spec import VmSpec\n"
            "from hikkoshi.vsphere.order import Order\n"
            "home = Home(Path(sys.argv[1])); site = home.site().vsphere.model_copy(update={'server': sys.argv[2]})\n"
            "spec, (hash, disk, sha256), by = VmSpec.model_validate_json(sys.argv[3]), sys.argv[4:7], vm.Owner(*sys.argv[7:])\n"
            "order = Order(by, 'gateway', spec, hash, Path(disk), sha256)\n"
            "with session.connect(home, site) as v: deployment.start(v, site, order, home.folder('gateway'))\n"
        )
        o = world.order
        assert o.spec is not None
        argv = [world.home.root, world.params().server, o.spec.model_dump_json(), o.plan_hash, o.vmdk, o.sha256]
        argv += [BY.site, "a run that was killed", BY.lock]
        begun: queue.Queue[subprocess.Popen[bytes]] = queue.Queue()
        world.proxy.faults.at = (4 * MIB, lambda: begun.get().kill())
        child = subprocess.Popen([sys.executable, "-c", program, *map(str, argv)])
        begun.put(child)
        assert child.wait(PATIENCE) == -signal.SIGKILL
        v = world.connect()
        (left,) = vm.marked(v, "gateway")
        assert not deployment.complete(v, world.order)
        world.deploy(v)
        (made,) = vm.marked(v, "gateway")
        assert made.id != left.id
        assert deployment.complete(v, world.order)

    @pytest.mark.parametrize("fault", ["TaskInProgress", "ManagedObjectNotFound"])
    def test_remains_that_the_server_still_holds_or_just_removes_are_looked_at_again(self, world: World, fault: str) -> None:
        v = world.connect()
        world.deploy(v)
        (machine,) = vm.marked(v, "gateway")
        by_hand(v, machine, extraConfig=options({vm.COMPLETE: "", vm.MACHINE: ""}))
        world.proxy.faults.soap["Destroy_Task"] = Fault(fault, times=1)
        world.deploy(v)
        assert world.proxy.calls.count("Destroy_Task") == 2
        assert named(v) == ["gateway"]

    def test_a_missing_privilege_is_named(self, world: World) -> None:
        fields = '<object type="Folder">group-1</object><privilegeId>VApp.Import</privilegeId>'
        world.proxy.faults.soap["ImportVApp"] = Fault("NoPermission", fields=fields)
        with pytest.raises(VSphereError, match=r"privilegeId=VApp\.Import"):
            world.deploy()

    def test_a_failure_at_the_very_end_leaves_nothing(self, world: World) -> None:
        world.proxy.faults.soap["HttpNfcLeaseComplete"] = Fault("InvalidState")
        v = world.connect()
        with pytest.raises(VSphereError, match="complete the import"):
            world.deploy(v)
        assert named(v) == []

    def test_an_answer_that_pyvmomi_does_not_know_is_still_an_error_of_ours(self, world: World) -> None:
        world.proxy.faults.soap["HttpNfcLeaseGetManifest"] = Fault("NeverHeardOf")
        v = world.connect()
        with pytest.raises(HikkoshiError, match="does not understand"):
            world.deploy(v)
        assert named(v) == []

    def test_a_disk_that_is_not_the_converted_one_is_not_imported(self, world: World) -> None:
        v = world.connect()
        with pytest.raises(StepFailed, match="not the one that was converted"):
            deployment.start(v, world.site.vsphere, replace(world.order, sha256="c" * 64), world.folder)
        assert named(v) == []


LOST = "SET.runtime.connectionState"  # the mark by which vcsim is told what it tells of its connection to a machine


class TestReady:
    """What is asked of vSphere right before the source is shut down."""

    def red(self, world: World, v: Session) -> list[str]:
        return [c.title for c in cutover.ready(v, world.site.vsphere, world.order) if not c]

    def test_a_deployed_machine_is_ready_and_stays_so_once_it_serves(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        assert self.red(world, v) == []
        served(world, v)
        cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)
        assert self.red(world, v) == []

    @pytest.mark.parametrize(
        ("change", "titles"),
        [
            (lambda w, v, m: v.wait(m.thing.Destroy_Task(), "remove it"), ["the machine is deployed"]),
            (lambda w, v, m: by_hand(v, m, extraConfig=options({vm.SITE: "another"})), ["the machine is deployed"]),
            (lambda w, v, m: by_hand(v, m, extraConfig=options({vm.COMPLETE: ""})), ["the machine is deployed"]),
            (lambda w, v, m: by_hand(v, m, extraConfig=options({vm.VMDK: "b"})), ["gateway stands in vSphere as planned"]),
            (lambda w, v, m: by_hand(v, m, memoryMB=512), ["memory in MB"]),
            (lambda w, v, m: v.wait(m.thing.PowerOnVM_Task(), "on"), ["the machine waits, switched off"]),
            (lambda w, v, m: by_hand(v, m, deviceChange=[plug(m, "00:16:3e:05:00:04")]), ["the machine waits, switched off"]),
            (lambda w, v, m: maintenance(v), ["a host can take the machine", "the machine's own host can start it"]),
            (lambda w, v, m: alone_in_maintenance(v, m), ["the machine's own host can start it"]),
            (lambda w, v, m: lose(v, m), ["the machine's own host can start it"]),
            (
                lambda w, v, m: by_hand(v, m, extraConfig=options({LOST: "disconnected"})),
                ["the machine's own host can start it", "the machine waits, switched off"],
            ),
            (lambda w, v, m: stranger_on(w, v), ["no other machine in vSphere is on with one of the MACs"]),
            (
                lambda w, v, m: by_hand(v, stranger_on(w, v), extraConfig=options({LOST: "disconnected"})),
                ["no other machine in vSphere is on with one of the MACs"],
            ),
        ],
        ids=[
            "gone",
            "of others",
            "unfinished",
            "other disk",
            "other memory",
            "on",
            "plugged in",
            "no host",
            "maintenance",
            "lost host",
            "not seen",
            "same MAC",
            "same MAC not seen",
        ],
    )
    def test_what_has_changed_since_the_preflight_keeps_the_source_on(
        self, world: World, change: Callable[[World, Session, vm.VirtualMachine], object], titles: list[str]
    ) -> None:
        v = world.connect()
        world.deploy(v)
        (machine,) = vm.ours(v, BY.site, "gateway")
        change(world, v, machine)
        assert self.red(world, v) == titles


def served(world: World, v: Session) -> None:
    cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)
    cutover.roll_back(v, world.order)
    cutover.strike(world.folder)


def maintenance(v: Session) -> None:
    for host in v.collect("HostSystem", ["name"]):
        v.wait(host.EnterMaintenanceMode_Task(0), "enter maintenance")


def host_of(v: Session, machine: vm.VirtualMachine) -> Any:
    return v.read(machine.thing, "runtime.host")["runtime.host"]


def alone_in_maintenance(v: Session, machine: vm.VirtualMachine) -> None:
    v.wait(host_of(v, machine).EnterMaintenanceMode_Task(0), "enter maintenance")


def lose(v: Session, machine: vm.VirtualMachine) -> None:
    v.wait(host_of(v, machine).DisconnectHost_Task(), "lose it")


def stranger_on(world: World, v: Session) -> vm.VirtualMachine:
    old = foreign(world, v, "old", mac="00:16:3E:05:00:03")
    by_hand(v, old, deviceChange=[plug(old, "00:16:3e:05:00:03")])
    v.wait(old.thing.PowerOnVM_Task(), "on")
    return old


class TestCutOver:
    def test_nothing_happens_while_the_source_runs(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        on = Check(
            code="a-code",
            title="the source is off",
            ok=False,
            found="running",
            expected="off",
            remedy="shut it down",
            where="xenhost",
        )
        with pytest.raises(Refused, match="shut it down"):
            cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: on, folder=world.folder)
        assert cutover.rolled_back(v, world.order)

    def test_a_source_that_comes_back_while_the_nics_are_plugged_in_keeps_its_addresses(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        back = Check(code="a-code", title="the source is off", ok=False, found="running", remedy="shut it down")
        looks = iter([OFF, back])
        world.proxy.calls.clear()
        with pytest.raises(Refused, match="shut it down"):
            cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: next(looks), folder=world.folder)
        assert "PowerOnVM_Task" not in world.proxy.calls
        assert cutover.rolled_back(v, world.order)

    def test_nothing_happens_while_another_machine_is_on_with_one_of_the_macs(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        stranger_on(world, v)
        with pytest.raises(Refused, match="two NICs with one MAC break the network"):
            cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)
        assert cutover.rolled_back(v, world.order)

    def test_nothing_happens_without_a_complete_machine(self, world: World) -> None:
        v = world.connect()
        with pytest.raises(Refused, match="the machine is deployed"):
            cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)

    @pytest.mark.parametrize(
        "of", [{"guest": "idp"}, {"plan": "f" * 64}, {"vmdk": "f" * 64}, {"machine": "another"}, {"step": "85-offloads"}]
    )
    def test_what_was_approved_is_this_guest_plan_disk_and_machine_or_nothing_happens(
        self, world: World, of: dict[str, str]
    ) -> None:
        v = world.connect()
        world.deploy(v)
        world.proxy.calls.clear()
        (name,) = of
        wrong = replace(world.permission, **of)
        with pytest.raises(Refused, match=f"what was approved is another {name}"):
            cutover.start(v, world.site.vsphere, world.order, wrong, source=lambda: OFF, folder=world.folder)
        (machine,) = vm.ours(v, BY.site, "gateway")
        for act in (vm.connect, vm.power):
            with pytest.raises(Refused, match=f"what was approved is another {name}"):
                act(v, BY, machine, wrong)
            with pytest.raises(AttributeError):
                act(v, BY, machine, True)  # type: ignore[arg-type]
        assert not {"ReconfigVM_Task", "PowerOnVM_Task"} & set(world.proxy.calls)
        assert cutover.rolled_back(v, world.order)

    def test_a_machine_that_was_made_anew_is_not_the_one_that_can_be_approved(self, world: World) -> None:
        v = world.connect()
        made = world.deploy(v)
        assert cutover.deployed(v, world.order, world.folder)
        made.model_copy(update={"instance_uuid": "another"}).save(world.folder)
        found = cutover.deployed(v, world.order, world.folder)
        assert (bool(found), found.found, found.expected) == (False, made.instance_uuid, "another")

    def test_into_service_and_out_of_it_again(self, world: World) -> None:
        v = world.connect()
        assert {c.remedy for c in cutover.wiring(v, world.site.vsphere, world.order)} == {"run 60-deploy in apply"}
        world.deploy(v)
        assert {c.remedy for c in cutover.wiring(v, world.site.vsphere, world.order)} == {"run 70-cutover in apply"}
        assert not cutover.complete(v, world.order, world.folder)
        cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)
        assert cutover.complete(v, world.order, world.folder)
        assert [c for c in cutover.wiring(v, world.site.vsphere, world.order) if not c] == []
        assert len(cutover.InService.load(world.folder).nics) == 10
        assert not cutover.rolled_back(v, world.order)
        cutover.roll_back(v, world.order)
        assert cutover.rolled_back(v, world.order)
        assert not cutover.record_gone(world.folder)
        cutover.strike(world.folder)
        assert cutover.record_gone(world.folder)
        assert not cutover.complete(v, world.order, world.folder)
        assert deployment.complete(v, world.order), "it still stands there, for another try"

    def test_a_cut_over_killed_before_it_was_written_down_is_finished_by_the_next_run(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)
        (world.folder / "cutover.json").unlink()
        assert "not in cutover.json" in cutover.complete(v, world.order, world.folder).found
        cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)
        assert cutover.complete(v, world.order, world.folder)

    def test_the_nics_are_plugged_in_before_the_machine_is_switched_on(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        world.proxy.calls.clear()
        cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)
        order = [c for c in world.proxy.calls if c in ("ReconfigVM_Task", "PowerOnVM_Task")]
        assert order == ["ReconfigVM_Task", "PowerOnVM_Task"]

    def test_a_nic_moved_to_another_segment_is_found_by_its_mac(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)
        (machine,) = vm.marked(v, "gateway")
        card = machine.nics["00:16:3e:05:00:04"]
        groups = inventory.place(v, world.site.vsphere).port_groups
        card.backing.port.portgroupKey = next(g.key for g in groups if g.name == "dv-vlan501")
        card.backing.port.portKey = None
        edit = vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)
        by_hand(v, machine, deviceChange=[edit])
        (wrong,) = [c for c in cutover.wiring(v, world.site.vsphere, world.order) if not c]
        assert wrong.title.startswith("eth4 (00:16:3e:05:00:04)")
        assert wrong.remedy.startswith("correct the NIC")
        assert "dv-vlan501" in wrong.found

    def test_after_the_cut_over_deploying_again_finds_everything_done(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)
        again = [*deployment.read_back(v, world.site.vsphere, world.order), deployment.unplugged(v, world.order)]
        assert [c for c in again if not c] == []
        assert red(world, v) == []
        cutover.roll_back(v, world.order)
        assert deployment.unplugged(v, world.order).found == "10 of 10 NICs unplugged"

    def test_a_nic_that_somebody_plugged_in_before_the_cut_over_is_told(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        (machine,) = vm.marked(v, "gateway")
        by_hand(v, machine, deviceChange=[plug(machine, "00:16:3e:05:00:04")])
        check = deployment.unplugged(v, world.order)
        assert (bool(check), check.found) == (False, "plugged in: 00:16:3e:05:00:04")

    def test_a_machine_in_service_whose_record_was_lost_is_only_recorded(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        first = cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)
        (world.folder / "cutover.json").unlink()
        before = world.proxy.calls.count("ReconfigVM_Task")
        again = cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=world.folder)
        assert (again.since, again.nics) == (first.since, first.nics)
        assert world.proxy.calls.count("ReconfigVM_Task") == before

    def test_an_unplugged_nic_is_not_in_service(self, world: World) -> None:
        v = world.connect()
        world.deploy(v)
        (machine,) = vm.marked(v, "gateway")
        vm.power(v, BY, machine, world.permission)
        check = cutover.complete(v, world.order, world.folder)
        assert (bool(check), check.found) == (False, "poweredOn, 0 of 10 NICs plugged in, not in cutover.json")


def fingerprint(lab: Path) -> str:
    import ssl

    der = ssl.PEM_cert_to_DER_cert((lab / certificate.CERTIFICATE).read_text())
    return hashlib.sha256(der).hexdigest()


def get(port: int, context: Any) -> None:
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    try:
        connection.request("GET", "/about")
        connection.getresponse().read()
    finally:
        connection.close()
