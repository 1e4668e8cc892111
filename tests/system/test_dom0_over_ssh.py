"""A Dom-0 over a real sshd, with stand-ins for Xen's programs: what is asked and done there, and what nobody believes."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from hikkoshi import tool
from hikkoshi.check import Check
from hikkoshi.cli import doctor
from hikkoshi.errors import HikkoshiError, Refused, StepFailed, ToolFailed
from hikkoshi.guest import survey
from hikkoshi.guest.survey import Survey
from hikkoshi.network import interview
from hikkoshi.params.guest import Guest, NicMap
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0, Site
from hikkoshi.sitefolder import pages, sources
from hikkoshi.steps.survey import SurveyGuest
from hikkoshi.xen import autostart, dom0, original
from hikkoshi.xen.live import backing, differences, machines, segments
from hikkoshi.xen.reach import connection, remote
from hikkoshi.xen.reach.kinds import one_look
from hikkoshi.xen.reach.remote import RemoteDom0
from hikkoshi.xen.vifs import Vif
from journey import permitted
from overssh import DATA, OverSsh, over_ssh
from processes import wait_for

pytestmark = pytest.mark.needs("ssh", "sshd", "ssh-keygen", "root")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OverSsh]:
    """All tests share it, and log in anew only where that is what they are about."""
    with over_ssh(tmp_path_factory.mktemp("ssh")) as machine:
        yield machine


@pytest.fixture
def there(machine: OverSsh) -> OverSsh:
    """A Dom-0 on which web01 and db01 run."""
    machine.as_new()
    machine.xen("web01", "db01")
    return machine


@pytest.fixture
def site(home: Home, there: OverSsh) -> Site:
    return home.site().model_copy(update={"dom0s": {"xenhost": there.dom0}})


@pytest.fixture
def db01(there: OverSsh) -> Guest:
    return guest(there, "db01")


MEASURED = {"shell": "ssh://dom0", **{path: {"client": "here", "server": "192.0.2.7"} for path in ("through", "direct")}}


@pytest.fixture
def surveyed() -> Survey:
    return Survey.model_validate_json((DATA.parent / "survey" / "idp.json").read_bytes())


def guest(there: OverSsh, name: str) -> Guest:
    return Guest(name=name, dom0="xenhost", config=there.folder / f"{name}.cfg", nics=())


def test_a_guest_is_seen_shut_down_and_started_again_and_one_connection_serves_all(
    there: OverSsh, home: Home, site: Site, db01: Guest
) -> None:
    there.log_out()
    before = there.logins
    runs = dom0.source_runs(home, site, db01)
    assert runs, runs.found
    assert dom0.serves(home, site, db01)
    assert not dom0.source_off(home, site, db01)
    assert dom0.others(home, site, db01)
    dom0.shut_down(home, site, db01, permitted("db01"), timeout=30)
    off = dom0.source_off(home, site, db01)
    assert (off.ok, off.unseen, off.found) == (True, "", "not in the list of domains")
    assert there.running == ["web01"]
    dom0.start_again(home, site, db01)
    assert dom0.source_runs(home, site, db01)
    dom0.start_again(home, site, db01)
    assert there.calls == ["shutdown -w db01", f"create {db01.config}"]
    assert there.logins == before + 1


@pytest.mark.parametrize("shell", [s for s in ("bash", "busybox", "ksh") if shutil.which(s)])
def test_any_sh_there_will_do(there: OverSsh, home: Home, site: Site, db01: Guest, shell: str) -> None:
    (there.folder / "bin/sh").symlink_to(str(shutil.which(shell)))
    assert dom0.source_runs(home, site, db01)
    dom0.shut_down(home, site, db01, permitted("db01"), timeout=30)
    there.program("xl", "sleep 1000")
    with pytest.raises(ToolFailed, match="took too long"):
        RemoteDom0(there.dom0).run(["xl", "list"], timeout=1)
    wait_for(lambda: not there.processes, "all that was started there ends")


def test_xm_is_asked_where_there_is_no_xl(there: OverSsh, home: Home, site: Site) -> None:
    there.log_out()
    (there.folder / "bin/xl").rename(there.folder / "bin/xm")
    (there.folder / "list").write_bytes((DATA / "xm-list-migrating.txt").read_bytes())
    (there.folder / "running").write_text("Zombie-billing\nmigrating-ledger\nidp\n")
    (there.folder / "long.Zombie-billing+idp+migrating-ledger+").write_bytes((DATA / "xm-list-long.sxp").read_bytes())
    (there.folder / "ledger.cfg").write_text("name = 'ledger'\nmemory = 320\n")
    assert "migrating-ledger (ID 7" in dom0.source_off(home, site, guest(there, "ledger")).found


def test_a_disk_that_another_domain_has_by_another_name_is_known_as_the_dom0_has_it(
    there: OverSsh, home: Home, site: Site, db01: Guest, tmp_path: Path
) -> None:
    image, other = tmp_path / "disk.img", tmp_path / "link"
    image.write_bytes(bytes(1 << 20))
    other.symlink_to(image)
    there.xen("web01")
    db01.config.write_text(f"name = 'db01'\nmemory = 320\ndisk = ['file:{image},xvda,w']\n")
    for name, seen in ((str(other), True), (str(tmp_path / "another"), False)):
        long = (DATA / "xl-list-l.json").read_text().replace("/srv/xen/web01/disk.img", name)
        (there.folder / "long.web01+").write_text(long)
        assert ("it has the guest's disk" in dom0.source_off(home, site, db01).found) == seen


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All questions from here on."""
    asked: list[str] = []
    ask = connection.Connection.ask
    monkeypatch.setattr(
        connection.Connection, "ask", lambda self, script, **more: asked.append(script) or ask(self, script, **more)
    )
    return asked


def test_its_files_are_looked_at_for_what_starts_the_guest_in_few_questions(
    there: OverSsh, home: Home, site: Site, db01: Guest, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hikkoshi.xen.autostart.AUTO", there.folder / "auto")
    some = tuple(place for place in autostart.FOLDERS if "systemd" not in str(place))  # those are large where systemd runs
    monkeypatch.setattr("hikkoshi.xen.autostart.FOLDERS", some)
    monkeypatch.setattr("hikkoshi.xen.starters.FOLDERS", some)
    (there.folder / "auto").mkdir()
    (there.folder / "auto/db01").symlink_to("../db01.cfg")
    check = autostart.check(home, site, db01)
    assert (check.ok, check.found) == (False, f"{there.folder}/auto/db01 on xenhost")
    assert f"rm {there.folder}/auto/db01" in check.remedy
    assert len(asked) <= 8


def test_in_one_look_nothing_is_asked_twice_and_after_it_everything_is_asked_anew(
    there: OverSsh, home: Home, site: Site, db01: Guest, asked: list[str]
) -> None:
    with one_look():
        assert not dom0.source_off(home, site, db01)
        differences.checks(site, db01)
        segments.checks(site, db01)
        assert original.check(home, site, db01)
    assert len(asked) == len(set(asked)) <= 10
    there.xen("web01")
    assert dom0.source_off(home, site, db01)


@pytest.fixture
def auto(there: OverSsh, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of which xendomains starts all; web01 is in it."""
    folder = there.folder / "auto"
    folder.mkdir()
    (folder / "web01").symlink_to("../web01.cfg")
    monkeypatch.setattr("hikkoshi.xen.autostart.AUTO", folder)
    monkeypatch.setattr("hikkoshi.xen.autostart.FOLDERS", ())  # the rest is as this machine has it, and large
    monkeypatch.setattr("hikkoshi.xen.starters.FOLDERS", ())
    return folder


@pytest.mark.parametrize("dom0", [Dom0(ssh="dom0"), Dom0(root=Path("/"))], ids=["over ssh", "here"])
def test_what_starts_the_guest_is_moved_aside_and_put_back_as_it_was(
    home: Home, site: Site, db01: Guest, auto: Path, dom0: Dom0
) -> None:
    site = site.model_copy(update={"dom0s": {"xenhost": dom0}})
    (auto / "10 db01").symlink_to("../db01.cfg")
    aside = auto.with_name("auto.hikkoshi")
    before = autostart.check(home, site, db01, before=True)
    assert (before.ok, before.unseen) == (True, "not done"), before.found
    assert before.found == f"{auto}/10 db01 on xenhost: 70-cutover moves it to {aside}/10 db01"
    assert not autostart.check(home, site, db01)
    autostart.move_aside(home, site, db01, permitted("db01"))
    assert autostart.check(home, site, db01)
    assert [p.name for p in auto.iterdir()] == ["web01"]
    back = autostart.back(home, site, db01)
    assert (back.ok, back.found) == (False, f"{auto}/10 db01 on xenhost")
    assert back.remedy == f"type on xenhost: mv '{aside}/10 db01' '{auto}/10 db01'"
    assert f"this is put back: {auto}/10 db01" in autostart.told(home, site, db01).found
    autostart.put_back(home, site, db01)
    assert (auto / "10 db01").readlink() == Path("../db01.cfg")
    assert not aside.exists()
    assert autostart.back(home, site, db01)


def test_where_its_scripts_cannot_be_looked_at_in_time_what_xendomains_starts_is_moved_aside_all_the_same(
    there: OverSsh, home: Home, site: Site, db01: Guest, auto: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (auto / "db01").symlink_to("../db01.cfg")
    monkeypatch.setattr("hikkoshi.xen.autostart.FOLDERS", ((there.folder, 0),))
    expect = RemoteDom0.expect

    def late(self: RemoteDom0, **wanted: Any) -> None:
        if wanted.get("folders") == ((there.folder, 0),):
            raise tool.timed_out(["look"], 60, "dom0")
        expect(self, **wanted)

    monkeypatch.setattr(RemoteDom0, "expect", late)
    assert not autostart.check(home, site, db01)
    autostart.move_aside(home, site, db01, permitted("db01"))
    check = autostart.check(home, site, db01)
    assert (check.ok, check.unseen, (auto / "db01").is_symlink()) == (True, "not seen", False)
    assert "took too long" in check.found
    assert not autostart.back(home, site, db01)


def test_what_is_in_the_way_of_a_move_is_not_written_over(home: Home, site: Site, db01: Guest, auto: Path) -> None:
    (auto / "db01").symlink_to("../db01.cfg")
    kept = auto.with_name("auto.hikkoshi") / "db01"
    kept.parent.mkdir()
    kept.write_text("of somebody else")
    with pytest.raises(StepFailed, match="hikkoshi/db01 is there already") as e:
        autostart.move_aside(home, site, db01, permitted("db01"))
    assert (kept.read_text(), (auto / "db01").is_symlink()) == ("of somebody else", True)
    assert "move()" not in str(e.value)
    assert f"mkdir -p {kept.parent} && mv -i {auto}/db01 {kept}" in e.value.problems[0].remedy  # it asks before it overwrites
    kept.unlink()
    kept.symlink_to("../db01.cfg")  # as after a rollback by hand
    autostart.move_aside(home, site, db01, permitted("db01"))
    assert autostart.check(home, site, db01)


def test_what_may_be_another_guest_s_is_left_to_a_person(home: Home, site: Site, db01: Guest, auto: Path) -> None:
    (auto / "test").write_text(db01.config.read_text().replace('name = "db01"', 'name = "test"'))
    for before in (True, False):
        check = autostart.check(home, site, db01, before=before)
        assert (check.ok, check.remedy) == (False, f"type on xenhost: mv {auto}/test /root/")


def test_of_what_was_moved_aside_a_rollback_puts_back_that_of_its_own_guest_only(
    home: Home, site: Site, db01: Guest, auto: Path
) -> None:
    kept = auto.with_name("auto.hikkoshi") / "web02"
    kept.parent.mkdir()
    kept.write_text(db01.config.read_text().replace('name = "db01"', 'name = "web02"'))  # it shares db01's disks
    assert autostart.back(home, site, db01), "it is no business of db01's"
    autostart.put_back(home, site, db01)
    assert kept.exists()


@pytest.mark.parametrize(("macs", "moved"), [("00:16:3e", True), ("00:16:3f", False)])
def test_of_another_dom0_what_has_only_the_name_of_the_guest_is_left_to_a_person(
    home: Home, site: Site, db01: Guest, auto: Path, tmp_path: Path, macs: str, moved: bool
) -> None:
    site = site.model_copy(update={"dom0s": {"xen2": Dom0(root=Path("/")), "xenhost": Dom0(root=tmp_path / "mnt")}})
    text = db01.config.read_text()
    own = tmp_path / "mnt" / str(db01.config)[1:]
    own.parent.mkdir(parents=True)
    own.write_text(text)
    (auto / "db01").write_text(text.replace("00:16:3e", macs))
    check = autostart.check(home, site, db01, before=True)
    assert (check.ok, "xen2" in check.found) == (moved, True), check.found


def test_a_second_configuration_with_more_disks_is_found_there(there: OverSsh, home: Home, site: Site, db01: Guest) -> None:
    moved = there.folder / "moved"
    moved.write_text(db01.config.read_text().replace(", 'file:/srv/xen/db01/data.img,xvdb,w'", ""))
    copy = db01.model_copy(update={"config": moved})
    check = original.check(home, site, copy)
    assert check.found == f"{db01.config} has also xvdb (/srv/xen/db01/data.img)"
    own = original.check(home, site, copy.model_copy(update={"start_config": db01.config}))
    assert "with what is not moved: xvdb" in own.found


def test_a_disk_there_is_not_taken_for_one_of_this_machine(home: Home, site: Site, db01: Guest) -> None:
    origin = survey.origin_of(home, site, db01)
    assert [p.path.relative_to(home.folder("db01")) for p in origin.parts] == [Path("source/xvda.img"), Path("source/xvdb.img")]
    assert str(origin) == "xvda: ssh://dom0/srv/xen/db01/disk.img, xvdb: ssh://dom0/srv/xen/db01/data.img"


def test_a_path_may_have_spaces_quotes_and_dollars_and_nothing_in_it_is_run(there: OverSsh) -> None:
    path = there.folder / """it's "a" $(touch pwned) `touch pwned`;touch pwned *.cfg"""
    path.write_text("name = 'a'\n")
    host = RemoteDom0(there.dom0)
    assert host.read(path, 100) == b"name = 'a'\n"
    assert path.name in host.names(there.folder)
    assert not list(there.folder.rglob("pwned")) + list(Path.home().glob("pwned"))


def test_what_is_no_file_is_not_opened_and_a_large_one_is_not_read_whole(there: OverSsh) -> None:
    host = RemoteDom0(there.dom0)
    os.mkfifo(there.folder / "pipe")
    (there.folder / "circle").symlink_to("circle")
    for name in ("pipe", "bin", "circle", "nothing"):
        with pytest.raises(OSError, match=r"something else than a file|No such file"):
            host.read(there.folder / name, 100)
    (there.folder / "large").write_bytes(bytes(range(256)) * 4096)
    assert host.read(there.folder / "large", 1000) == (bytes(range(256)) * 4)[:1001]
    assert len(host.read(there.folder / "large", 1 << 19)) == (1 << 19) + 1


def test_what_a_login_shell_prints_is_no_answer(there: OverSsh, home: Home, site: Site, db01: Guest) -> None:
    there.sshd("ForceCommand echo Welcome; printf 'Name\\033[2J ID Mem VCPUs State Time\\n'; eval \"$SSH_ORIGINAL_COMMAND\"")
    assert dom0.source_runs(home, site, db01)


def test_nothing_stays_there_when_a_question_takes_too_long(there: OverSsh) -> None:
    host = RemoteDom0(there.dom0)
    assert host.toolstack() == "xl"
    there.program("xl", "sleep 1000 & sleep 1000")
    with pytest.raises(ToolFailed, match=r"xl took too long(?s:.*)dom0: xl list"):
        host.run(["xl", "list"], timeout=1)
    wait_for(lambda: not there.processes, "all that was started there ends")


def test_nothing_stays_there_or_here_when_we_are_killed(there: OverSsh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there.log_out()
    there.program("xl", f"touch {there.folder}/begun; sleep 1000")
    code = (
        "from hikkoshi.params.site import Dom0; from hikkoshi.xen.reach import connection; connection.PERSIST = 1\n"
        "from hikkoshi.xen.reach.remote import RemoteDom0\n"
        "RemoteDom0(Dom0(ssh='dom0')).run(['xl', 'list'], timeout=900)\n"
    )
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        wait_for((there.folder / "begun").exists, "it is asked")
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not there.processes, "all that was started there ends")
    wait_for(lambda: not masters(tmp_path), "the connection ends")


def masters(temporary: Path) -> list[str]:
    """Connections that are open, of those whose temporary files are there: ssh calls itself by its socket then."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may end meanwhile
            if f"TMPDIR={temporary}\0".encode() in (process / "environ").read_bytes():
                lines.append((process / "cmdline").read_bytes().decode(errors="replace"))
    return [line for line in lines if "[mux]" in line and "hikkoshi-" in line]


def test_a_connection_that_has_ended_meanwhile_is_made_again(there: OverSsh) -> None:
    there.log_out()
    before = there.logins
    assert RemoteDom0(there.dom0).toolstack() == "xl"
    connection.close()
    assert RemoteDom0(there.dom0).run(["xl", "list"], timeout=20).startswith("Name")
    assert there.logins == before + 2


def test_what_acts_goes_on_when_we_are_cut_off(there: OverSsh) -> None:
    there.program("xl", f"echo begun; sleep 2; echo more; echo more >&2; touch {there.folder}/done")
    with pytest.raises(ToolFailed, match="took too long"):
        RemoteDom0(there.dom0).run(["xl", "create"], timeout=1, acts=True)
    wait_for((there.folder / "done").exists, "it goes on")


def test_the_segment_of_each_nic_is_told_and_what_differs(
    there: OverSsh, home: Home, site: Site, db01: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    (there.folder / "store").write_bytes((DATA / "xenstore-ls-f-2guests.txt").read_bytes())
    there.program("xenstore-ls", f"cat {there.folder}/store")
    answer = "@out eth0\\n@port xenbr100 eth0.100\\n@port xenbr100 vif2.0\\n@port xenbr200 eth0.200\\n"
    monkeypatch.setattr(segments, "_SCRIPT", f"printf '{answer}'; cat {DATA}/ip-d-link.txt")
    vlans = {name: site.segments["servers"].model_copy(update={"vlan": vlan}) for name, vlan in (("lan", 100), ("dmz", 200))}
    site = site.model_copy(update={"segments": vlans})
    macs = ("00:16:3e:00:02:01", "00:16:3e:00:02:02")
    for names, unseen in ((("lan", "dmz"), ""), (("lan", "lan"), "not seen")):
        nics = tuple(NicMap(mac=mac, segment=name) for mac, name in zip(macs, names, strict=True))
        told = segments.told(site, db01.model_copy(update={"nics": nics}))
        assert (told.ok, told.unseen) == (True, unseen), told.found
    assert "00:16:3e:00:02:01 on xenbr100: VLAN 100 by eth0.100, lan;" in told.found
    assert "00:16:3e:00:02:02 on xenbr200: VLAN 200 by eth0.200, dmz; its parameters say lan" in told.found


def test_the_guest_as_it_runs_is_held_against_its_file(there: OverSsh, site: Site, db01: Guest) -> None:
    (alone,) = differences.checks(site, db01)  # there is no xenstore-ls
    assert (alone.ok, alone.unseen) == (True, "not seen")
    assert "what was attached since its start is not known: " in alone.found
    store = (DATA / "xenstore-ls-f-2guests.txt").read_text()
    (there.folder / "store").write_text(store)
    there.program("xenstore-ls", f"cat {there.folder}/store")
    (fine,) = differences.checks(site, db01)
    assert (fine.unseen, fine.found[:34]) == ("", "320 MB, 1 vCPU, xvda = /srv/xen/db")
    image = there.folder / "extra.img"
    image.touch()
    extra = f'/local/domain/0/backend/vbd/2/51744/params = "{image}"\n/local/domain/0/backend/vbd/2/51744/dev = "xvdc"\n'
    (there.folder / "store").write_text(store + extra)
    (left,) = differences.checks(site, db01)
    assert (left.ok, left.code) == (False, "disk-left-behind")
    own = there.folder / "own.cfg"
    own.write_text(db01.config.read_text().replace("disk = [", f"disk = ['file:{image},xvdc,w',"))
    copied = db01.model_copy(update={"start_config": own})
    assert differences.checks(site, copied)[0].ok
    (there.folder / "link.img").symlink_to(image)
    db01.config.write_text(own.read_text().replace("extra.img", "link.img").replace("memory = 320", "memory = 640"))
    (memory,) = differences.checks(site, db01)
    assert memory.code == "memory-as-it-runs"
    there.xen("web01")
    (off,) = differences.checks(site, db01)
    assert (off.unseen, off.found) == ("not needed", "it does not run: there is nothing to compare")


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("", "not known: "),
        ("[]", "this is no Xen configuration"),
        ('[{"domid": 2', "JSON that cannot be read"),
        ('[{"domid": 2, "config": {"c_info": {"name": "db01"}, "b_info": {"target_memkb": -5}}}]', "is not usable"),
        ("(domain (name web01) (memory 5))", "tells of web01, not of db01"),
    ],
)
def test_a_list_of_one_guest_that_tells_something_else_is_not_believed(
    there: OverSsh, site: Site, db01: Guest, printed: str, told: str
) -> None:
    (there.folder / ".domains/2").write_text(printed)
    (check,) = differences.checks(site, db01)
    assert (check.ok, check.unseen, told in check.found) == (True, "not seen", True), check.found


def test_one_machine_by_two_names_is_told_and_so_is_one_folder(there: OverSsh, home: Home, site: Site, tmp_path: Path) -> None:
    def named(**dom0s: Dom0) -> Check:
        (check,) = machines.checks(home, site.model_copy(update={"dom0s": dom0s}))
        return check

    mounted, link = tmp_path / "mnt", tmp_path / "link"
    mounted.mkdir()
    link.symlink_to("mnt")
    folder = Dom0(root=mounted)
    assert machines.checks(home, site) == []
    assert named(xen1=Dom0(ssh="dom0"), folder=folder).unseen == ""
    for twice in (Dom0(root=Path("/")), Dom0(ssh="root@dom0")):
        check = named(xen1=Dom0(ssh="dom0"), xen2=twice, folder=folder)
        assert (check.ok, check.found) == (False, f"one machine or folder: xen1 (ssh://dom0); xen2 ({twice})")
    assert not named(old=folder, new=Dom0(root=link))
    there.program("head", "echo 7f")
    unknown = named(xen1=Dom0(ssh="dom0"), xen2=Dom0(root=Path("/")))
    assert (unknown.ok, unknown.unseen) == (True, "not seen")
    assert "has no number in it" in unknown.found


def test_the_guest_itself_is_asked_in_one_login_and_nothing_is_changed(there: OverSsh, home: Home, surveyed: Survey) -> None:
    idp = Guest.model_validate({**home.guest("idp").model_dump(), "measurement": MEASURED})
    (another,) = interview.checks(idp, surveyed, off=False)
    assert (another.ok, another.code) == (False, "shell-of-another"), another.found
    there.log_out()
    before = there.logins
    macs = [p.read_text().strip() for p in Path("/sys/class/net").glob("*/address") if (p.parent / "device").exists()]
    vifs = tuple(Vif(mac=mac) for mac in macs)
    own = surveyed.model_copy(update={"xen": surveyed.xen.model_copy(update={"vifs": vifs})})
    found = "\n".join(c.found for c in interview.checks(idp, own, off=False))
    assert there.logins == before + 1
    assert f"it runs {os.uname().release}; its survey: 2.6.18-398.el5xen" in found
    assert (f"it has {os.cpu_count()} processors; its survey: 1" in found) == (os.cpu_count() != 1)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("cat /dev/zero", "asked, but it does not answer: "),
        ("cat >/dev/null", "not asked: the machine cannot be reached by ssh: no answer in"),
        ("echo hello; exit 0", "asked, but it does not answer: hello"),
        ("exit 255", "not asked: the machine cannot be reached by ssh"),
    ],
)
def test_a_guest_that_does_not_answer_well_is_not_red(
    there: OverSsh, home: Home, surveyed: Survey, command: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interview, "PATIENCE", 1.0)
    there.sshd(f"ForceCommand {command}")
    idp = Guest.model_validate({**home.guest("idp").model_dump(), "measurement": MEASURED})
    (check,) = interview.checks(idp, surveyed, off=False)
    assert (check.ok, check.unseen) == (True, "not seen")
    assert check.found.startswith(told), check.found
    wait_for(lambda: not there.processes, "all that was started there ends")


def test_all_its_guests_are_found_with_their_macs_and_vlans_and_where_they_run(
    there: OverSsh, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.xen("db01")
    monkeypatch.setattr(sources, "FOLDER", there.folder)
    (there.folder / "db01.cfg").unlink()  # it runs, and its file is elsewhere
    (there.folder / "store").write_bytes((DATA / "xenstore-ls-f-2guests.txt").read_bytes())
    there.program("xenstore-ls", f"cat {there.folder}/store")
    answer = "@out eth0\\n@port xenbr0 eth0\\n@port xenbr100 eth0.100\\n@port xenbr200 eth0.200\\n"
    monkeypatch.setattr(segments, "_SCRIPT", f"printf '{answer}'; cat {DATA}/ip-d-link.txt")
    (db01, web01), unread = sources.every(home, {"xenhost": there.dom0})
    assert (db01.name, db01.runs, db01.config, unread) == ("db01", True, there.folder / "db01", [])
    assert [(n.mac, n.bridge, n.vlan) for n in db01.nics] == [
        ("00:16:3e:00:02:01", "xenbr100", 100),
        ("00:16:3e:00:02:02", "xenbr200", 200),
    ]
    assert "FILL IN: it runs, and no file in" in pages.guest(db01, {100: ["lan"], 200: ["dmz"]})
    assert (web01.name, web01.runs, web01.config) == ("web01", False, there.folder / "web01.cfg")
    assert [n.vlan for n in web01.nics] == [0, 100]
    there.log_out()
    there.known("")
    with pytest.raises(ToolFailed, match="the machine's host key is not known here"):
        sources.every(home, {"xenhost": there.dom0})


def test_the_doctor_says_whether_it_answers_and_what_to_do_where_it_does_not(there: OverSsh, home: Home) -> None:
    path = home.root / "params/site.yml"
    path.write_text(path.read_text().replace("root: outputs/lab/dom0", "ssh: dom0"))
    (row,) = doctor._dom0s(home)
    assert (row.ok, row.title, row.found) == (True, "the Dom-0 xenhost answers (ssh://dom0)", "xl, Xen 4.17.7")
    there.sshd("AuthorizedKeysFile none")
    (row,) = doctor._dom0s(home)
    assert (row.ok, row.found.startswith("the machine does not let this user in: ")) == (False, True)
    assert "type `ssh dom0 true` here" in row.remedy


@pytest.mark.needs("losetup")
def test_what_each_disk_is_there_is_told(there: OverSsh, site: Site, db01: Guest, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    made = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device to be had: {made.stderr.strip()}")
    loop = made.stdout.strip()
    try:
        db01.config.write_text(
            f"name = 'db01'\nmemory = 1\ndisk = ['file:{image},xvda,w', 'phy:{loop},xvdb,w', 'phy:vg0/a,xvdc,w']\n"
        )
        (check,) = backing.checks(site, db01)
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)
    assert re.search(r"xvda: a file, 1.0 MiB; \S+ \S+ free in /", check.found), check.found
    assert f"xvdb: a loop device ({image}), 1.0 MiB; xvdc: not there" in check.found
    assert check.unseen == "not seen"


def test_the_bridges_of_this_kernel_can_be_asked(there: OverSsh) -> None:
    said = RemoteDom0(there.dom0).run(["sh", "-c", segments._SCRIPT], timeout=20)
    assert segments.Ways.of(said).vlan("nothing") == (None, "no bridge nothing with a port is there")


LIST = (DATA / "xl-list-2guests.txt").read_text()
LONG = (DATA / "xl-list-l-2guests.json").read_text()
Breaking = Callable[[OverSsh], object]


def prints(text: str, *, status: int = 0, errors: str = "") -> Breaking:
    """xl prints this for every list."""
    return lambda m: [
        (m.folder / "said").write_text(text),
        (m.folder / "errors").write_text(errors),
        m.program("xl", f"echo $* >> {m.folder}/calls; cat {m.folder}/said; cat {m.folder}/errors >&2; exit {status}"),
    ]


def long(text: str) -> Breaking:
    """`xl list -l` prints this, and xenstore cannot be asked."""
    return lambda m: (m.folder / "long.db01+web01+").write_text(text)


def runs(script: str) -> Breaking:
    return lambda m: m.program("xl", script.replace("HERE", str(m.folder)))


def config(act: Callable[[Path], object]) -> Breaking:
    """Something else is in the place of the guest's configuration."""
    return lambda m: [(m.folder / "db01.cfg").unlink(), act(m.folder / "db01.cfg")]


def forced(command: str) -> Breaking:
    return lambda m: m.sshd(f"ForceCommand {command}")


def client(line: str) -> Breaking:
    return lambda m: m.ssh(line)


HOSTILE: dict[str, tuple[Breaking, str]] = {
    "nothing at all": (prints(""), "no list of domains: nothing was printed"),
    "an error with status 0": (prints("libxl: error: cannot open privcmd\n"), "no list of domains: libxl: error"),
    "status 127": (prints("", status=127, errors="no such library\n"), "lacks a program: xl: no such library"),
    "status 255": (prints("", status=255, errors="Permission denied\n"), "exit status 255: Permission denied"),
    "a page of HTML": (prints("<html><body>Login</body></html>\n"), "no list of domains: <html>"),
    "words between the lines": (prints(LIST + "WARNING: something\n"), "cannot be read: WARNING"),
    "terminal escapes": (prints("\x1b]0;title\x07\x1b[2J\x9b31m\n" + LIST + "\x1b[5n\n"), r"cannot be read: \\x1b\[5n"),
    "escapes in an error": (prints("", status=1, errors="\x1b[31mred\r\x1bc\n"), r"\\x1b\[31mred\\r\\x1bc"),
    "letters turned around": (prints("", status=1, errors="\u202egnirts\n"), r"\\u202egnirts"),
    "random bytes": (runs("head -c 100000 /dev/urandom"), "not known"),
    "bytes without end": (runs("cat /dev/zero"), "answers more than it can have to tell|took too long|no answer in"),
    "errors without end": (runs("cat /dev/zero >&2"), "answers more than it can have to tell|took too long|no answer in"),
    "no answer": (runs("sleep 1000"), "took too long|no answer in"),
    "an answer drop by drop": (runs("while :; do echo x; sleep 0.1; done"), "took too long|no answer in"),
    "a program that kills itself": (runs("kill -9 $$"), "exit status 137"),
    "a program that kills the shell": (runs("kill -9 0"), "answer is cut off"),
    "half an answer and then the connection ends": (
        lambda m: [m.log_out(), runs("head -n 2 HERE/list; kill -9 $PPID; kill -9 0")(m)],
        "answer is cut off",
    ),
    "no xl and no xm": (lambda m: (m.folder / "bin/xl").unlink(), "lacks a program: xl"),
    "JSON that is none": (long("[{domid: 1}]"), "what runs on the Dom-0 is not known"),
    "JSON as deep as a well": (long("[" * 200_000), "what runs on the Dom-0 is not known"),
    "an empty long list": (long(""), "nothing was printed"),
    "a pipe for a configuration": (config(os.mkfifo), "is not there"),
    "a configuration without end": (config(lambda p: p.symlink_to("/dev/zero")), "is not there"),
    "a configuration as large as a disk": (config(lambda p: p.write_bytes(bytes(1 << 20))), "this is no Xen configuration"),
    "a configuration of random bytes": (config(lambda p: p.write_bytes(os.urandom(4096))), "not known"),
    "a configuration that is code": (config(lambda p: p.write_text("import os\nname = os.popen('touch pwned')\n")), "not known"),
    "another host key": (
        lambda m: m.known((m.folder / "user.pub").read_text()),
        r"another host key than before.*: ED25519 SHA256:\S{43}; the key that is known stands in \S+/known_hosts:1: find out",
    ),
    "an unknown host key that ssh is told to take": (
        lambda m: [m.known(""), m.ssh("StrictHostKeyChecking no")],
        "host key is not known here",
    ),
    "a key that is not let in": (lambda m: m.sshd("AuthorizedKeysFile none"), "does not let this user in"),
    "old algorithms only": (
        lambda m: m.sshd("KexAlgorithms diffie-hellman-group1-sha1,diffie-hellman-group14-sha1"),
        "only algorithms that ssh here does not use.*below `Host dom0`.*: `KexAlgorithms \\+diffie-hellman-group14-sha1`$",
    ),
    "nobody there": (client("ProxyCommand false"), "cannot be reached"),
    "somebody who says nothing": (client("ProxyCommand sleep 1000"), "cannot be reached"),
    "another protocol": (client("ProxyCommand echo HTTP/1.1 400 Bad Request"), "cannot be reached"),
    "no sh": (lambda m: (m.folder / "bin/sh").symlink_to("/bin/false"), "no shell answers"),
    "no login": (forced("echo 'This account is currently not available.'; exit 1"), "no shell answers: This account"),
    "a menu for a shell": (forced("echo '1) start 2) stop'; exit 0"), "no shell answers"),
    "a login shell without end": (forced("yes"), "no shell answers"),
    "a mirror for a shell": (forced("cat"), "cannot be reached"),
    "a shell that stops in the middle": (forced("head -c 300 | sh"), "no shell answers"),
    "other paths than those that were asked for": (
        lambda m: m.program("readlink", "echo relative"),
        "answer about its files is not understood",
    ),
    "more of a file than was asked for": (lambda m: m.program("head", "exec cat /dev/zero"), "more than it can have to tell"),
    "numbers of disks that are none": (lambda m: m.program("stat", "echo '$(touch pwned)|`id`'"), "not understood"),
}
SILENT = {"somebody who says nothing", "a mirror for a shell"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_or_broken_dom0_is_told_clearly_and_nothing_is_done(
    there: OverSsh, home: Home, site: Site, db01: Guest, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking, told = HOSTILE[name]
    monkeypatch.setattr(connection, "PRINTED", 1 << 20)
    if "took too long" in told:
        monkeypatch.setattr(dom0, "LISTING", 1)
    if name in SILENT:
        monkeypatch.setattr(remote, "PATIENCE", 0.4)
    before = {p: p.stat().st_mtime_ns for p in home.root.rglob("*")}
    breaking(there)
    check = dom0.source_off(home, site, db01)
    assert not check
    assert re.search(told, f"{check.found}: {check.remedy}", re.DOTALL), f"{check.found}: {check.remedy}"
    assert check.remedy
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]|\\r$", f"{check}", re.MULTILINE)
    with pytest.raises(HikkoshiError):
        dom0.shut_down(home, site, db01, permitted("db01"), timeout=0.2)
    with suppress(HikkoshiError):  # where only its configuration cannot be read, it is seen to run
        dom0.start_again(home, site, db01, patience=0)
    assert there.calls == []
    assert not list(there.folder.rglob("pwned")) + list(Path.home().glob("pwned")) + list(Path.cwd().glob("pwned"))
    assert {p: p.stat().st_mtime_ns for p in home.root.rglob("*")} == before
    wait_for(lambda: not there.processes, "all that was started there ends")


def test_a_name_of_a_domain_is_never_run(there: OverSsh, home: Home, site: Site, db01: Guest) -> None:
    line = LIST.splitlines(keepends=True)[2].replace("web01 ", "$(touch pwned);`touch pwned` ", 1).replace("  1 ", "  7 ", 1)
    prints(LIST + line)(there)
    check = dom0.source_off(home, site, db01)
    assert (check.ok, "not known" in check.found) == (False, True)
    assert not list(there.folder.rglob("pwned")) + list(Path.home().glob("pwned"))


@pytest.mark.parametrize(
    ("script", "timeout", "told"),
    [
        ("echo 'db01 is being shut down' >&2; exit 0", 1, "db01 did not go off"),
        ("sleep 1000", 1, "db01 did not go off"),
        ("kill -9 0", 1, "db01 did not go off"),
        ("echo 'libxl: no such domain' >&2; exit 3", 20, "exit status 3: libxl: no such domain"),
    ],
)
def test_a_shutdown_that_fails_hangs_lies_or_is_cut_off_is_a_failure(
    there: OverSsh, home: Home, site: Site, db01: Guest, script: str, timeout: int, told: str
) -> None:
    program = (there.folder / "bin/xl").read_text().removeprefix("#!/bin/sh\n")
    there.program("xl", f'case "$*" in shutdown*) echo "$*" >> {there.folder}/calls; {script};; esac\n{program}')
    with pytest.raises(StepFailed, match=told):
        dom0.shut_down(home, site, db01, permitted("db01"), timeout=timeout)
    assert set(there.calls) == {"shutdown -w db01"}
    assert there.running == ["web01", "db01"]
    wait_for(lambda: not there.processes, "all that was started there ends")


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 0", ""),
        ("echo 'xl: cannot allocate memory' >&2; exit 3", "exit status 3: xl: cannot allocate memory"),
        ("kill -9 0", "answer is cut off"),
    ],
)
def test_a_start_that_fails_lies_or_is_cut_off_does_not_count_as_one(
    there: OverSsh, home: Home, site: Site, db01: Guest, script: str, told: str
) -> None:
    there.xen("web01")
    program = (there.folder / "bin/xl").read_text().removeprefix("#!/bin/sh\n")
    there.program("xl", f'case "$*" in create*) {script};; esac\n{program}')
    with pytest.raises(ToolFailed, match=told) if told else nullcontext():
        dom0.start_again(home, site, db01)
    assert not dom0.source_runs(home, site, db01)


def test_the_survey_has_a_row_for_all_that_is_told_and_is_stopped_by_a_disk_left_behind(
    there: OverSsh, home: Home, db01: Guest, auto: Path
) -> None:
    site = home.root / "params/site.yml"
    site.write_text(site.read_text().replace("root: outputs/lab/dom0", "ssh: dom0"))
    (home.root / "params/guests/db01.yml").write_text(f"name: db01\ndom0: xenhost\nconfig: {db01.config}\nnics: []\n")
    (auto / "10 db01").symlink_to("../db01.cfg")
    disk = '/local/domain/0/backend/vbd/2/51744/params = "/srv/extra.img"\n/local/domain/0/backend/vbd/2/51744/dev = "xvdc"\n'
    (there.folder / "store").write_text((DATA / "xenstore-ls-f-2guests.txt").read_text() + disk)
    there.program("xenstore-ls", f"cat {there.folder}/store")
    run = SurveyGuest.open({"guest": "db01", "home": str(home.root)})
    rows = {c.code: c for c in SurveyGuest(run).checks()}
    assert rows["xen-told"].found == "xl, Xen 4.17.7"
    assert rows["autostart-told"].found == f"yes, by {auto}/10 db01 on xenhost"
    assert not rows["disk-left-behind"]
    with pytest.raises(Refused, match="WOULD BE LEFT BEHIND"):
        run.preflight([rows["disk-left-behind"]])
