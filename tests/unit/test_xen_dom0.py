"""The Dom-0: paths below its root, lists of domains, and what can only be done by hand.

Where the Dom-0 is this machine, a stand-in for `xl` answers with what a real one printed.
"""

import os
from pathlib import Path

import pytest

from hikkoshi.errors import BadInput, Refused, StepFailed, ToolFailed
from hikkoshi.params import Dom0, Home
from hikkoshi.xen import dom0

DATA = Path(__file__).parents[1] / "data" / "xen"
HERE = Dom0(root=Path("/"))


@pytest.fixture
def mounted(tmp_path: Path) -> tuple[Home, Dom0]:
    """A home, and a Dom-0 whose disk is 'mounted' at home/mnt."""
    (tmp_path / "mnt/etc/xen/auto").mkdir(parents=True)
    (tmp_path / "mnt/etc/xen/web01").write_bytes((DATA / "web01.cfg").read_bytes())
    (tmp_path / "secret").write_text("name = 'outside'\nmemory = 1\n")
    return Home(tmp_path), Dom0(root=Path("mnt"))


@pytest.fixture
def xl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `xl` that notes how it is called; `xl list` prints the files list.0, list.1, … one after the other."""
    program = tmp_path / "bin" / "xl"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'here=$(dirname "$0")\n'
        'echo "$*" >> "$here/calls"\n'
        '[ "$1" = list ] || exit 0\n'
        'n=$(cat "$here/n" 2>/dev/null || echo 0)\n'
        '[ -f "$here/list.$((n + 1))" ] && echo $((n + 1)) > "$here/n"\n'
        'cat "$here/list.$n"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program.parent


def lists(xl: Path, *names: str) -> None:
    for n, name in enumerate(names):
        (xl / f"list.{n}").write_bytes((DATA / name).read_bytes())


def calls(xl: Path) -> list[str]:
    return [line for line in (xl / "calls").read_text().splitlines() if line != "list"]


def test_a_configuration_is_read_below_the_root(mounted: tuple[Home, Dom0]) -> None:
    assert dom0.read_config(*mounted, Path("/etc/xen/web01")).name == "web01"


def test_an_absolute_link_means_the_dom0s_own_file(mounted: tuple[Home, Dom0]) -> None:
    (mounted[0].root / "mnt/etc/xen/auto/web01").symlink_to("/etc/xen/web01")
    assert dom0.read_config(*mounted, Path("/etc/xen/auto/web01")).name == "web01"


@pytest.mark.parametrize("link", ["../../../../secret", "/../secret"])
def test_no_link_and_no_dots_lead_out_of_the_root(mounted: tuple[Home, Dom0], link: str) -> None:
    home = mounted[0]
    (home.root / "mnt/etc/xen/out").symlink_to(link)
    (home.root / "mnt/etc/xen/outer").symlink_to(home.root / "secret")
    for path in ("/etc/xen/out", "/etc/xen/outer", "/../secret", "/etc/../../secret"):
        with pytest.raises(BadInput, match="no such file"):
            dom0.read_config(*mounted, Path(path))
        assert dom0.disk_path(*mounted, path).is_relative_to(home.root / "mnt")


def test_links_in_a_circle_are_refused(mounted: tuple[Home, Dom0]) -> None:
    (mounted[0].root / "mnt/a").symlink_to("b")
    (mounted[0].root / "mnt/b").symlink_to("/a")
    with pytest.raises(BadInput, match="circle"):
        dom0.disk_path(*mounted, "/a")


def test_a_dom0_that_is_not_mounted_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="mount it") as e:
        dom0.read_config(Home(tmp_path), Dom0(root=Path("mnt")), Path("/etc/xen/a"))
    assert str(tmp_path / "mnt") in str(e.value)


def test_a_configuration_that_is_no_file_is_refused(mounted: tuple[Home, Dom0]) -> None:
    os.mkfifo(mounted[0].root / "mnt/etc/xen/pipe")
    for path in ("/etc/xen/auto", "/etc/xen/pipe"):
        with pytest.raises(BadInput, match="something else than a file"):
            dom0.read_config(*mounted, Path(path))


def test_a_configuration_as_large_as_a_disk_is_not_read(mounted: tuple[Home, Dom0]) -> None:
    with (mounted[0].root / "mnt/etc/xen/large").open("wb") as f:
        f.truncate(1 << 33)
    with pytest.raises(BadInput, match="no Xen configuration"):
        dom0.read_config(*mounted, Path("/etc/xen/large"))


def test_a_comment_in_another_encoding_does_no_harm(mounted: tuple[Home, Dom0]) -> None:
    (mounted[0].root / "mnt/etc/xen/euc").write_bytes("# 学認の認証\nname = 'idp'\nmemory = 1024\n".encode("euc-jp"))
    assert dom0.read_config(*mounted, Path("/etc/xen/euc")).name == "idp"


def test_an_error_in_a_configuration_names_the_file_as_it_is_found_here(mounted: tuple[Home, Dom0]) -> None:
    (mounted[0].root / "mnt/etc/xen/bad").write_text("import os\n")
    with pytest.raises(BadInput, match=f"{mounted[0].root}/mnt/etc/xen/bad:1"):
        dom0.read_config(*mounted, Path("/etc/xen/bad"))


@pytest.mark.needs("root")
def test_a_device_node_of_a_mounted_dom0_is_not_this_machines_disk(mounted: tuple[Home, Dom0]) -> None:
    node = mounted[0].root / "mnt/sda"
    try:
        os.mknod(node, 0o060600, os.makedev(7, 250))  # never opened
    except PermissionError:
        pytest.skip("no device nodes can be made here")
    with pytest.raises(BadInput, match="a disk of this machine"):
        dom0.disk_path(*mounted, "/sda")


def test_a_disk_without_a_target_is_refused(mounted: tuple[Home, Dom0]) -> None:
    with pytest.raises(BadInput, match="no target"):
        dom0.disk_path(*mounted, "")


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        ("xl-list.txt", {"Domain-0": "r-----", "web01": "-b----"}),
        ("xl-list-2guests.txt", {"Domain-0": "r-----", "web01": "-b----", "db01": "-b----"}),
        ("xl-list-v.txt", {"Domain-0": "r-----", "web01": "r-----"}),
        (
            "xl-list-two-guests-shut-down-but-lingering.txt",
            {"Domain-0": "r-----", "db01": "--ps--", "web01": "--ps--"},
        ),
        ("xm-list-managed-guests.txt", {"Domain-0": "r-----", "gateway": "-b----"}),
    ],
)
def test_a_list_of_domains_is_read(listing: str, expected: dict[str, str]) -> None:
    assert dom0.domains((DATA / listing).read_text()) == expected


def test_from_a_mounted_dom0_nothing_runs(mounted: tuple[Home, Dom0]) -> None:
    check = dom0.source_off(*mounted, "web01")
    assert check
    assert check.unseen == "not seen"
    assert "whoever applies answers for it" in check.found


def test_starting_and_stopping_on_a_mounted_dom0_is_left_to_a_person(mounted: tuple[Home, Dom0]) -> None:
    with pytest.raises(Refused, match=r"xm shutdown -w web01.*then run this step again"):
        dom0.shut_down(*mounted, "web01")
    with pytest.raises(Refused, match="xl create '/etc/xen/a b'") as e:
        dom0.start_again(*mounted, "web01", Path("/etc/xen/a b"))
    assert e.value.exit_code == 3
    assert "look there that it runs" in str(e.value)
    assert "do not repeat it" in str(e.value)
    assert "run this step again" not in str(e.value)


def test_a_running_a_lingering_and_an_absent_guest_are_told_apart(xl: Path, home: Home) -> None:
    lists(xl, "xl-list-2guests.txt", "xl-list-two-guests-shut-down-but-lingering.txt", "xl-list.txt")
    running, lingering, absent = (dom0.source_off(home, HERE, "db01") for _ in range(3))
    assert (running.ok, lingering.ok, absent.ok) == (False, False, True)
    assert "not yet gone" in lingering.found
    assert running.remedy


def test_not_knowing_whether_the_source_runs_counts_as_running(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    check = dom0.source_off(home, HERE, "web01")
    assert not check
    assert "xl is not installed" in check.found


def test_shutting_down_waits_until_the_domain_is_gone(xl: Path, home: Home) -> None:
    lists(xl, "xl-list-2guests.txt", "xl-list-two-guests-shut-down-but-lingering.txt", "xl-list.txt")
    dom0.shut_down(home, HERE, "db01", timeout=30)
    assert calls(xl) == ["shutdown -w db01"]


def test_a_guest_that_is_off_is_not_shut_down_again(xl: Path, home: Home) -> None:
    lists(xl, "xl-list.txt")
    dom0.shut_down(home, HERE, "db01")
    assert (xl / "calls").read_text() == "list\nlist\n"


def test_a_guest_that_stays_is_a_failure_and_is_never_destroyed(xl: Path, home: Home) -> None:
    lists(xl, "xl-list.txt")
    with pytest.raises(StepFailed, match="did not go off"):
        dom0.shut_down(home, HERE, "web01", timeout=0.5)
    assert calls(xl) == ["shutdown -w web01"]


def test_a_guest_is_started_from_its_own_configuration_unless_it_runs(xl: Path, home: Home) -> None:
    lists(xl, "xl-list.txt")
    dom0.start_again(home, HERE, "db01", Path("/etc/xen/db01.cfg"))
    dom0.start_again(home, HERE, "web01", Path("/etc/xen/web01.cfg"))
    assert calls(xl) == ["create /etc/xen/db01.cfg"]


def test_a_toolstack_that_fails_is_not_taken_for_an_empty_list(xl: Path, home: Home) -> None:
    (xl / "xl").write_text("#!/bin/sh\necho 'libxl: cannot open privcmd' >&2\nexit 1\n")
    assert not dom0.source_off(home, HERE, "web01")
    with pytest.raises(ToolFailed, match="privcmd"):
        dom0.start_again(home, HERE, "web01", Path("/etc/xen/web01.cfg"))


def test_a_guest_counts_as_running_only_where_it_is_seen_to(xl: Path, home: Home) -> None:
    lists(xl, "xl-list-2guests.txt", "xl-list-two-guests-shut-down-but-lingering.txt", "xl-list.txt")
    assert [dom0.source_runs(home, HERE, "db01").ok for _ in range(3)] == [True, False, False]


def test_whether_a_guest_of_a_mounted_dom0_runs_is_not_known_and_so_not_claimed(mounted: tuple[Home, Dom0]) -> None:
    check = dom0.source_runs(*mounted, "web01")
    assert (check.ok, "cannot be seen" in check.found) == (False, True)


def test_a_toolstack_that_fails_does_not_prove_that_the_guest_runs(xl: Path, home: Home) -> None:
    (xl / "xl").write_text("#!/bin/sh\nexit 1\n")
    assert not dom0.source_runs(home, HERE, "web01")
