"""The Dom-0: paths below its root, lists of domains, and what can only be done by hand.

Where the Dom-0 is this machine, a stand-in for `xl` answers with what a real one printed.
"""

import os
import re
from pathlib import Path

import pytest

from hikkoshi.check import Permission
from hikkoshi.errors import BadInput, Refused, StepFailed, ToolFailed
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0, Site
from hikkoshi.xen import dom0, root
from journey import permitted

DATA = Path(__file__).parents[1] / "data" / "xen"
HERE = Dom0(root=Path("/"))
WEB01 = "xl-list-l.json"  # of Domain-0 and web01


@pytest.fixture
def mounted(tmp_path: Path) -> tuple[Home, Dom0]:
    """A home, and a Dom-0 whose disk is 'mounted' at home/mnt."""
    (tmp_path / "mnt/etc/xen/auto").mkdir(parents=True)
    (tmp_path / "mnt/etc/xen/web01").write_bytes((DATA / "web01.cfg").read_bytes())
    (tmp_path / "secret").write_text("name = 'outside'\nmemory = 1\n")
    return Home(tmp_path), Dom0(root=Path("mnt"))


@pytest.fixture
def xl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs `xl` and `xenstore-ls` that note how they are called and print files: `xl list` list.0, list.1, … one after
    the other, `xl list -l` long, `xl list -v` uuids, `xenstore-ls` store. What has no file fails."""
    program = tmp_path / "bin" / "xl"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'here=$(dirname "$0")\n'
        'echo "$*" >> "$here/calls"\n'
        'case "$*" in\n'
        'list) n=$(cat "$here/n" 2>/dev/null || echo 0)\n'
        '[ -f "$here/list.$((n + 1))" ] && echo $((n + 1)) > "$here/n"\n'
        'cat "$here/list.$n";;\n'
        '"list -l") cat "$here/long";;\n'
        '"list -v") cat "$here/uuids";;\n'
        '-f) cat "$here/store";;\n'
        "esac\n"
    )
    program.chmod(0o755)
    (program.parent / "xenstore-ls").symlink_to("xl")
    (program.parent / "long").write_bytes((DATA / "xl-list-l-2guests.json").read_bytes())
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program.parent


@pytest.fixture
def site(home: Home) -> Site:
    """A site whose only Dom-0 is this machine."""
    return home.site().model_copy(update={"dom0s": {"xenhost": HERE}})


@pytest.fixture
def web01() -> Guest:
    return guest("web01")


@pytest.fixture
def db01() -> Guest:
    return guest("db01")


def guest(name: str) -> Guest:
    return Guest(name=name, dom0="xenhost", config=DATA / f"{name}.cfg", nics=())


def folders(home: Home) -> Site:
    """A site whose only Dom-0 is a folder, mounted at home/mnt."""
    return home.site().model_copy(update={"dom0s": {"xenhost": Dom0(root=Path("mnt"))}})


def lists(xl: Path, *names: str, long: str = "") -> None:
    """What `xl list` prints, one after the other, and `xl list -l`: without a name, of the domains that the last one has."""
    for n, name in enumerate(names):
        (xl / f"list.{n}").write_bytes((DATA / name).read_bytes())
    (xl / "long").write_text((DATA / long).read_text() if long else "[\n]\n")


def calls(xl: Path) -> list[str]:
    return [line for line in (xl / "calls").read_text().splitlines() if not line.startswith(("list", "-f"))]


def test_a_configuration_is_read_below_the_root(mounted: tuple[Home, Dom0]) -> None:
    assert root.read_config(*mounted, Path("/etc/xen/web01")).name == "web01"


def test_an_absolute_link_means_the_dom0s_own_file(mounted: tuple[Home, Dom0]) -> None:
    (mounted[0].root / "mnt/etc/xen/auto/web01").symlink_to("/etc/xen/web01")
    assert root.read_config(*mounted, Path("/etc/xen/auto/web01")).name == "web01"


@pytest.mark.parametrize("link", ["../../../../secret", "/../secret"])
def test_no_link_and_no_dots_lead_out_of_the_root(mounted: tuple[Home, Dom0], link: str) -> None:
    home = mounted[0]
    (home.root / "mnt/etc/xen/out").symlink_to(link)
    (home.root / "mnt/etc/xen/outer").symlink_to(home.root / "secret")
    for path in ("/etc/xen/out", "/etc/xen/outer", "/../secret", "/etc/../../secret"):
        with pytest.raises(BadInput, match="no such file"):
            root.read_config(*mounted, Path(path))
        assert root.disk_path(*mounted, path).is_relative_to(home.root / "mnt")


def test_links_in_a_circle_are_refused(mounted: tuple[Home, Dom0]) -> None:
    (mounted[0].root / "mnt/a").symlink_to("b")
    (mounted[0].root / "mnt/b").symlink_to("/a")
    with pytest.raises(BadInput, match="circle"):
        root.disk_path(*mounted, "/a")


def test_a_dom0_that_is_not_mounted_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="mount it") as e:
        root.read_config(Home(tmp_path), Dom0(root=Path("mnt")), Path("/etc/xen/a"))
    assert str(tmp_path / "mnt") in str(e.value)


def test_a_configuration_that_is_no_file_is_refused(mounted: tuple[Home, Dom0]) -> None:
    os.mkfifo(mounted[0].root / "mnt/etc/xen/pipe")
    for path in ("/etc/xen/auto", "/etc/xen/pipe"):
        with pytest.raises(BadInput, match="something else than a file"):
            root.read_config(*mounted, Path(path))


def test_a_configuration_as_large_as_a_disk_is_not_read(mounted: tuple[Home, Dom0]) -> None:
    with (mounted[0].root / "mnt/etc/xen/large").open("wb") as f:
        f.truncate(1 << 33)
    with pytest.raises(BadInput, match="no Xen configuration"):
        root.read_config(*mounted, Path("/etc/xen/large"))


def test_a_comment_in_another_encoding_does_no_harm(mounted: tuple[Home, Dom0]) -> None:
    (mounted[0].root / "mnt/etc/xen/euc").write_bytes("# 学認の認証\nname = 'idp'\nmemory = 1024\n".encode("euc-jp"))
    assert root.read_config(*mounted, Path("/etc/xen/euc")).name == "idp"


def test_an_error_in_a_configuration_names_the_file_as_it_is_found_here(mounted: tuple[Home, Dom0]) -> None:
    (mounted[0].root / "mnt/etc/xen/bad").write_text("name = code()\n")
    with pytest.raises(BadInput, match=f"{mounted[0].root}/mnt/etc/xen/bad:1"):
        root.read_config(*mounted, Path("/etc/xen/bad"))


@pytest.mark.needs("root")
def test_a_device_node_of_a_mounted_dom0_is_not_this_machines_disk(mounted: tuple[Home, Dom0]) -> None:
    node = mounted[0].root / "mnt/sda"
    try:
        os.mknod(node, 0o060600, os.makedev(7, 250))  # never opened
    except PermissionError:
        pytest.skip("no device nodes can be made here")
    with pytest.raises(BadInput, match="a disk of this machine"):
        root.disk_path(*mounted, "/sda")


def test_a_disk_without_a_target_is_refused(mounted: tuple[Home, Dom0]) -> None:
    with pytest.raises(BadInput, match="no target"):
        root.disk_path(*mounted, "")


def test_a_dom0_that_is_a_folder_is_not_seen(home: Home, web01: Guest) -> None:
    check = dom0.source_off(home, folders(home), web01)
    assert check
    assert check.unseen == "not seen"
    assert "the Dom-0 is a folder here" in check.found
    assert "whoever applies answers for it" in check.found


def test_starting_and_stopping_on_a_mounted_dom0_is_left_to_a_person(home: Home) -> None:
    own = guest("web01").model_copy(update={"config": Path("/etc/xen/a b")})
    with pytest.raises(Refused, match=r"xm shutdown -w web01.*then run this step again"):
        dom0.shut_down(home, folders(home), own, permitted(own.name))
    with pytest.raises(Refused, match="xl create '/etc/xen/a b'") as e:
        dom0.start_again(home, folders(home), own)
    assert e.value.exit_code == 3
    assert "look there that it runs" in str(e.value)
    assert "do not repeat it" in str(e.value)
    assert "run this step again" not in str(e.value)


def test_a_running_a_lingering_and_an_absent_guest_are_told_apart(xl: Path, home: Home, site: Site, db01: Guest) -> None:
    lists(xl, "xl-list-2guests.txt", "xl-list-two-guests-shut-down-but-lingering.txt", "xl-list.txt", long=WEB01)
    running, lingering, absent = (dom0.source_off(home, site, db01) for _ in range(3))
    assert (running.ok, lingering.ok, absent.ok, absent.unseen) == (False, False, True, "")
    assert "not yet gone" in lingering.found
    assert running.remedy == "shut db01 down"


@pytest.mark.parametrize(
    ("listing", "long", "told"),
    [
        ("xl-list-incoming-migration.txt", "", r"db01--incoming \(ID 7, state --p---\)"),
        ("xl-list-migrated-away.txt", "", r"db01--migratedaway \(ID 2"),
        ("xl-list-null-dying.txt", "", r"a domain without a name \(ID 2, state --psd-\): not known which guest"),
        ("xl-list-restarted-under-another-name.txt", WEB01, r"db01-20260101T1200Z \(ID 2"),
        ("xl-list-renamed.txt", "xl-list-l-renamed.json", r"billing \(ID 2, state -b----\): it has the guest's MAC"),
        ("xl-list.txt", "xl-list-l-2guests.json", r"db01 \(ID 2, state not listed\)"),
        ("xl-list-renamed.txt", WEB01, r"billing \(ID 2, state -b----\): not known which guest"),
        ("xl-list-cut-off.txt", WEB01, "not known: .*cut off in its last line"),
        ("xl-list-without-domain-0.txt", WEB01, "not known: .*no Domain-0 in it"),
    ],
)
def test_a_source_that_is_there_in_any_form_or_may_be_is_not_off(
    xl: Path, home: Home, site: Site, db01: Guest, listing: str, long: str, told: str
) -> None:
    lists(xl, listing, long=long)
    check = dom0.source_off(home, site, db01)
    assert not check
    assert re.search(told, check.found), check.found
    assert check.remedy
    assert not dom0.source_runs(home, site, db01)


@pytest.mark.parametrize("long", ["xl-list.txt", "xl-list-cut-off.txt"])
def test_where_the_long_list_cannot_be_read_xenstore_is_asked_and_else_it_is_not_known(
    xl: Path, home: Home, site: Site, db01: Guest, web01: Guest, long: str
) -> None:
    lists(xl, "xl-list-renamed.txt", long=long)
    unknown = dom0.source_off(home, site, db01)
    assert (unknown.ok, unknown.found.startswith("not known: what runs on the Dom-0 is not known")) == (False, True)
    (xl / "store").write_bytes((DATA / "xenstore-ls-f-2guests.txt").read_bytes())
    assert "it has the guest's MAC 00:16:3e:00:02:01" in dom0.source_off(home, site, db01).found
    lists(xl, "xl-list.txt", long=long)
    (xl / "store").write_text(without(2, (DATA / "xenstore-ls-f-2guests.txt").read_text()))
    (xl / "n").unlink(missing_ok=True)
    assert dom0.source_off(home, site, db01)
    assert not dom0.source_off(home, site, web01)


def without(number: int, store: str) -> str:
    return "".join(line for line in store.splitlines(keepends=True) if f"/{number}/" not in line)


def test_a_zombie_with_the_uuid_of_another_guest_does_not_stand_in_the_way(
    xl: Path, home: Home, site: Site, tmp_path: Path
) -> None:
    lists(xl, "xl-list-null-dying.txt")
    (xl / "uuids").write_bytes((DATA / "xl-list-v-null-dying.txt").read_bytes())
    for last, off in (("c0ffee000000", True), ("4164b9e4cee2", False)):
        config = tmp_path / f"{last}.cfg"
        config.write_text(f"name = 'mail'\nmemory = 320\nuuid = '3b2fc263-72b7-4b81-b011-{last}'\n")
        own = guest("mail").model_copy(update={"config": config})
        assert dom0.source_off(home, site, own).ok == off


def test_where_one_dom0_can_be_asked_and_another_not_both_are_told(xl: Path, home: Home, db01: Guest) -> None:
    both = {"xenhost": HERE, "xen2": Dom0(root=Path("mnt"))}
    site = home.site().model_copy(update={"dom0s": both})
    lists(xl, "xl-list.txt", "xl-list-2guests.txt", long=WEB01)
    off, on = (dom0.source_off(home, site, db01) for _ in range(2))
    assert (off.ok, off.unseen, on.ok) == (True, "not seen", False)
    assert off.found.startswith("not in the list of domains of xenhost; the Dom-0 is a folder here (xen2: ")
    moved = home.site().model_copy(update={"dom0s": {"xenhost": Dom0(root=Path("mnt")), "xen2": HERE}})
    (home.root / "mnt" / str(db01.config.parent)[1:]).mkdir(parents=True)
    (home.root / "mnt" / str(db01.config)[1:]).write_bytes(db01.config.read_bytes())
    found = dom0.source_off(home, moved, db01)
    assert (found.ok, found.where) == (False, "xen2")


def test_a_guest_of_the_same_name_on_another_dom0_is_never_shut_down_for_it(xl: Path, home: Home, db01: Guest) -> None:
    site = home.site().model_copy(update={"dom0s": {"xen2": HERE, "xenhost": HERE}})
    lists(xl, "xl-list-2guests.txt", "xl-list.txt", long=WEB01)  # on xen2 it is there, on its own it is off
    with pytest.raises(Refused, match="its UUID and MACs do not tell"):
        dom0.shut_down(home, site, db01, permitted("db01"), timeout=1)
    lists(xl, "xl-list-2guests.txt", long="xl-list-l-2guests.json")  # there on both, with all that it is known by
    (xl / "n").unlink()
    assert "db01 (ID 2, state -b----): it has the guest's name on xen2" in dom0.others(home, site, db01).found
    with pytest.raises(Refused, match="is not shut down"):
        dom0.shut_down(home, site, db01, permitted("db01"), timeout=1)
    assert calls(xl) == []


def test_what_xend_tells_counts_too(xl: Path, home: Home, site: Site, tmp_path: Path) -> None:
    (xl / "xl").rename(xl / "xm")
    (xl / "xenstore-ls").unlink()
    lists(xl, "xm-list-migrating.txt", long="xm-list-long.sxp")
    for name, told in (("ledger", "migrating-ledger (ID 7"), ("billing", "Zombie-billing (ID 4"), ("idp", "Zombie")):
        config = tmp_path / f"{name}.cfg"
        config.write_text(f"name = '{name}'\nmemory = 320\n")
        found = dom0.source_off(home, site, guest(name).model_copy(update={"config": config}))
        assert not found
        assert told in found.found


def test_a_configuration_that_cannot_be_read_means_that_nobody_knows(xl: Path, home: Home, site: Site) -> None:
    lists(xl, "xl-list.txt", long=WEB01)
    own = guest("db01").model_copy(update={"config": Path("/nowhere/db01")})
    check = dom0.source_off(home, site, own)
    assert (check.ok, check.found.startswith("not known: the guest's Xen configuration is not there")) == (False, True)


def test_not_knowing_whether_the_source_runs_counts_as_running(
    home: Home, site: Site, web01: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    check = dom0.source_off(home, site, web01)
    assert not check
    assert "xl is not installed" in check.found


def test_shutting_down_waits_until_the_domain_is_gone(xl: Path, home: Home, site: Site, db01: Guest) -> None:
    lists(xl, "xl-list-2guests.txt", "xl-list-two-guests-shut-down-but-lingering.txt", "xl-list.txt", long=WEB01)
    dom0.shut_down(home, site, db01, permitted(db01.name), timeout=30)
    assert calls(xl) == ["shutdown -w db01"]


def test_shutting_down_waits_for_a_domain_that_has_lost_its_name(xl: Path, home: Home, site: Site, db01: Guest) -> None:
    lists(xl, "xl-list-2guests.txt", "xl-list-null-dying.txt", "xl-list-null-dying.txt", "xl-list.txt", long=WEB01)
    dom0.shut_down(home, site, db01, permitted(db01.name), timeout=30)
    assert (xl / "calls").read_text().splitlines().count("list") >= 3


def test_beside_a_domain_that_could_be_the_source_it_is_not_shut_down(xl: Path, home: Home, site: Site, web01: Guest) -> None:
    lists(xl, "xl-list.txt", long=WEB01)
    assert dom0.others(home, site, web01)
    zombie = (DATA / "xl-list-null-dying.txt").read_text().splitlines(keepends=True)[-1].replace(" 2 ", " 7 ")
    (xl / "list.0").write_text((DATA / "xl-list.txt").read_text() + zombie)
    check = dom0.others(home, site, web01)
    assert (check.ok, "a domain without a name (ID 7" in check.found, "web01 (ID" in check.found) == (False, True, False)
    with pytest.raises(Refused, match=r"web01 is not shut down(?s:.*)without a name \(ID 7"):
        dom0.shut_down(home, site, web01, permitted(web01.name), timeout=1)
    assert calls(xl) == []


def test_what_cannot_be_asked_for_other_domains_of_the_source_is_not_called_free_of_them(
    xl: Path, home: Home, site: Site, web01: Guest
) -> None:
    assert dom0.others(home, folders(home), web01).unseen == "not seen"
    lists(xl, "xl-list-cut-off.txt", long=WEB01)
    assert "not known" in dom0.others(home, site, web01).found
    assert not dom0.others(home, site, web01)


@pytest.mark.parametrize(
    ("permission", "words"),
    [
        (permitted("web01"), "what was approved is another guest"),
        (permitted("db01", step="85-offloads"), "what was approved is another step"),
    ],
)
def test_a_permission_for_something_else_shuts_nothing_down(
    xl: Path, home: Home, site: Site, db01: Guest, permission: Permission, words: str
) -> None:
    lists(xl, "xl-list-2guests.txt", "xl-list-2guests.txt", long=WEB01)
    with pytest.raises(Refused, match=words):
        dom0.shut_down(home, site, db01, permission, timeout=30)
    assert not (xl / "calls").exists()


def test_a_guest_that_is_off_is_not_shut_down_again(xl: Path, home: Home, site: Site, db01: Guest) -> None:
    lists(xl, "xl-list.txt", long=WEB01)
    dom0.shut_down(home, site, db01, permitted(db01.name))
    assert calls(xl) == []


def test_a_guest_that_stays_is_a_failure_and_is_never_destroyed(xl: Path, home: Home, site: Site, web01: Guest) -> None:
    lists(xl, "xl-list.txt", long=WEB01)
    program = (xl / "xl").read_text()
    for shutdown in ("", "shutdown*) exec sleep 60;;\n"):  # xl comes back at once, or waits for the guest
        (xl / "xl").write_text(program.replace('case "$*" in\n', 'case "$*" in\n' + shutdown))
        with pytest.raises(StepFailed, match="web01 did not go off"):
            dom0.shut_down(home, site, web01, permitted(web01.name), timeout=0.5)
    assert set(calls(xl)) <= {"shutdown -w web01"}  # it may have been ended before it had said so


def test_a_domain_of_another_name_is_not_asked_to_shut_down(xl: Path, home: Home, site: Site, db01: Guest) -> None:
    for listing in ("xl-list-incoming-migration.txt", "xl-list-renamed.txt"):
        lists(xl, listing, long="xl-list-l-renamed.json")
        with pytest.raises(StepFailed, match="it is not asked to: it has another name"):
            dom0.shut_down(home, site, db01, permitted(db01.name), timeout=30)
    assert calls(xl) == []


def test_a_guest_is_started_from_its_own_configuration_unless_it_runs(
    xl: Path, home: Home, site: Site, db01: Guest, web01: Guest
) -> None:
    lists(xl, "xl-list.txt", long=WEB01)
    dom0.start_again(home, site, db01)
    dom0.start_again(home, site, web01)
    assert calls(xl) == [f"create {db01.config}"]


@pytest.mark.parametrize(
    ("listing", "long"),
    [
        ("xl-list-incoming-migration.txt", ""),
        ("xl-list-migrated-away.txt", ""),
        ("xl-list-null-dying.txt", ""),
        ("xl-list-renamed.txt", "xl-list-l-renamed.json"),
    ],
)
def test_a_guest_that_is_there_in_another_form_is_not_started_a_second_time(
    xl: Path, home: Home, site: Site, db01: Guest, listing: str, long: str
) -> None:
    lists(xl, listing, long=long)
    with pytest.raises(Refused, match="a person has to start db01") as e:
        dom0.start_again(home, site, db01, patience=0)
    assert f"xl create {db01.config}" in str(e.value)
    assert calls(xl) == []


def test_beside_a_domain_that_may_be_another_guest_a_person_starts_it_and_then_it_counts_as_in_service(
    xl: Path, home: Home, site: Site, db01: Guest
) -> None:
    own = db01.model_copy(update={"start_config": xl / "db01 of its own.cfg"})
    (xl / "db01 of its own.cfg").write_bytes((DATA / "db01.cfg").read_bytes())
    zombie = "(null)                                       5     0     1     --ps-d      12.0\n"
    before, after = ((DATA / name).read_text() for name in ("xl-list.txt", "xl-list-2guests.txt"))
    (xl / "list.0").write_text(before + zombie)
    (xl / "long").write_bytes((DATA / WEB01).read_bytes())
    with pytest.raises(Refused, match="not known which guest it is") as e:
        dom0.start_again(home, site, own, patience=0)
    assert f"type there: xl create '{own.start_config}'; then run this again: it counts as in service" in str(e.value)
    (xl / "list.0").write_text(after + zombie)
    (xl / "long").write_bytes((DATA / "xl-list-l-2guests.json").read_bytes())
    runs = dom0.source_runs(home, site, db01)
    assert runs, runs.found


def test_a_guest_that_has_just_shut_down_is_waited_for_and_then_started(xl: Path, home: Home, site: Site, db01: Guest) -> None:
    lists(xl, "xl-list-two-guests-shut-down-but-lingering.txt", "xl-list.txt", long=WEB01)
    dom0.start_again(home, site, db01)
    assert calls(xl) == [f"create {db01.config}"]


def test_a_toolstack_that_fails_is_not_taken_for_an_empty_list(xl: Path, home: Home, site: Site, web01: Guest) -> None:
    (xl / "xl").write_text("#!/bin/sh\necho 'libxl: cannot open privcmd' >&2\nexit 1\n")
    assert not dom0.source_off(home, site, web01)
    with pytest.raises(ToolFailed, match="privcmd") as e:
        dom0.start_again(home, site, web01)
    assert f"If it does not, type there: xl create {web01.config}" in str(e.value)


def test_a_guest_counts_as_running_only_where_it_is_seen_to(xl: Path, home: Home, site: Site, db01: Guest) -> None:
    lists(xl, "xl-list-2guests.txt", "xl-list-two-guests-shut-down-but-lingering.txt", "xl-list.txt", long=WEB01)
    assert [dom0.source_runs(home, site, db01).ok for _ in range(3)] == [True, False, False]


def test_whether_a_guest_of_a_mounted_dom0_runs_is_not_known_and_so_not_claimed(home: Home, web01: Guest) -> None:
    check = dom0.source_runs(home, folders(home), web01)
    assert (check.ok, "cannot be seen" in check.found) == (False, True)


def test_a_toolstack_that_fails_does_not_prove_that_the_guest_runs(xl: Path, home: Home, site: Site, web01: Guest) -> None:
    (xl / "xl").write_text("#!/bin/sh\nexit 1\n")
    assert not dom0.source_runs(home, site, web01)
