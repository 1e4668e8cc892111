"""The source is started from its own configuration, never from a copy that leaves some of its disks out."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hikkoshi.errors import BadInput, Refused
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0, Site
from hikkoshi.run import byhand
from hikkoshi.steps.rollback import Rollback
from hikkoshi.xen import dom0, original

DATA = Path(__file__).parents[1] / "data" / "xen"
OWN = (DATA / "db01.cfg").read_text()
COPY = OWN.replace(", 'file:/srv/xen/db01/data.img,xvdb,w'", "")
HERE = Dom0(root=Path("/"))


@pytest.fixture
def site(home: Home) -> Site:
    return home.site().model_copy(update={"dom0s": {"xenhost": HERE}})


def guest(folder: Path, start: str | None = None) -> Guest:
    """db01, to be moved by the copy of its configuration that is called `moved`."""
    (folder / "db01").write_text(OWN)
    (folder / "moved").write_text(COPY)
    own = folder / start if start else None
    return Guest(name="db01", dom0="xenhost", config=folder / "moved", start_config=own, nics=())


def test_the_copy_leaves_something_out() -> None:
    assert COPY != OWN


def test_a_second_configuration_with_more_disks_is_red_until_it_is_said_which_is_its_own(
    home: Home, site: Site, tmp_path: Path
) -> None:
    check = original.check(home, site, guest(tmp_path))
    assert not check
    assert check.found == f"{tmp_path}/db01 has also xvdb (/srv/xen/db01/data.img)"
    assert "`start_config`" in check.remedy
    said = original.check(home, site, guest(tmp_path, "db01"))
    assert said
    assert said.found == f"{tmp_path}/db01, with what is not moved: xvdb (/srv/xen/db01/data.img)"
    assert original.check(home, site, guest(tmp_path, "moved")).found == f"{tmp_path}/moved"  # db01 was an old one


def test_other_guests_older_copies_and_files_that_are_none_do_not_make_it_red(home: Home, site: Site, tmp_path: Path) -> None:
    own = guest(tmp_path)
    (tmp_path / "db01").unlink()
    (tmp_path / "same").write_text(COPY)
    (tmp_path / "less").write_text(COPY.replace(", 'mac=00:16:3e:00:02:02,bridge=xenbr200'", ""))
    (tmp_path / "web01").write_text((DATA / "web01.cfg").read_text())
    (tmp_path / "xend-config.sxp").write_text("(xend-http-server no)\n")
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe")
    assert original.check(home, site, own)
    (tmp_path / "code").write_text("memory = code()\nname = 'db01'\n")
    assert original.check(home, site, own).found == f"{tmp_path}/code has also something that cannot be read"


def test_a_source_is_not_started_from_what_a_tool_printed(home: Home, site: Site, tmp_path: Path) -> None:
    printed = guest(tmp_path).model_copy(update={"config": DATA / "xm-list-long-one-guest.sxp"})
    check = original.check(home, site, printed)
    assert (check.ok, "is S-expression, as a tool printed it" in check.found, "start_config" in check.remedy) == (
        False,
        True,
        True,
    )
    written = (DATA / "web01.cfg").read_text().replace("web01", "ledger")
    (tmp_path / "ledger").write_text(written)
    assert original.check(home, site, printed.model_copy(update={"start_config": tmp_path / "ledger"}))


def test_what_was_left_out_is_named(home: Home, site: Site, tmp_path: Path) -> None:
    assert original.left_out(home, site, guest(tmp_path)) == ()
    own = guest(tmp_path, "db01")
    (tmp_path / "moved").write_text(COPY.replace(", 'mac=00:16:3e:00:02:02,bridge=xenbr200'", ""))
    assert original.left_out(home, site, own) == ("xvdb (/srv/xen/db01/data.img)", "NIC 00:16:3e:00:02:02")
    (tmp_path / "db01").write_text("memory = size()\n" + OWN)
    assert "cannot be read" in original.left_out(home, site, own)[0]
    (tmp_path / "db01").write_text(OWN.replace('"db01"', '"db02"'))
    with pytest.raises(BadInput, match="has another name"):
        original.left_out(home, site, own)
    (tmp_path / "db01").unlink()
    assert not original.check(home, site, own)


@pytest.fixture
def xl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `xl` on a Dom-0 where no guest runs; what else it is asked is kept in the file that is given back."""
    program = tmp_path / "bin" / "xl"
    program.parent.mkdir()
    lists = f'list) head -n 2 {DATA}/xl-list.txt;; "list -l") echo "[]";;'
    program.write_text(f'#!/bin/sh\ncase "$*" in {lists} *) echo "$*" >> {tmp_path}/did;; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path / "did"


def test_the_source_is_started_with_all_its_disks(xl: Path, home: Home, site: Site, tmp_path: Path) -> None:
    dom0.start_again(home, site, guest(tmp_path, "db01"))
    assert xl.read_text() == f"create {tmp_path}/db01\n"


def test_where_nobody_has_said_which_is_its_own_a_person_starts_it(xl: Path, home: Home, site: Site, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="a person has to start db01") as e:
        dom0.start_again(home, site, guest(tmp_path))
    assert f"{tmp_path}/db01 has also xvdb" in str(e.value)
    assert not xl.exists()


def test_by_hand_its_own_configuration_is_named(home: Home, tmp_path: Path) -> None:
    folder = home.site().model_copy(update={"dom0s": {"xenhost": Dom0(root=Path("mnt"))}})
    with pytest.raises(Refused, match=f"xm create {tmp_path}/db01"):
        dom0.start_again(home, folder, guest(tmp_path, "db01"))


@pytest.mark.parametrize("broken", ["", "nics: [\n"])
def test_the_order_of_things_by_hand_names_its_own_configuration_too(home: Home, broken: str) -> None:
    file = home.root / "params/guests/idp.yml"
    file.write_text(file.read_text() + "start_config: /etc/xen/whole # with its data\n" + broken)
    assert "xl create /etc/xen/whole" in byhand.order(home, "idp", "no vSphere").remedy


def test_a_rollback_tells_what_it_starts_and_whether_that_comes_back_by_itself(home: Home, site: Site, tmp_path: Path) -> None:
    run = Rollback.open({"guest": "gateway", "home": str(home.root)})

    def told(own: Guest) -> list[str]:
        return [f"{c.ok} {c.found}" for c in Rollback(replace(run, site=site, guest=own)).source()]

    started, comes_back = told(guest(tmp_path, "db01"))
    assert started == f"True {tmp_path}/db01, with what is not moved: xvdb (/srv/xen/db01/data.img)"
    assert comes_back.startswith("True no. If it did before")
    assert f"ln -s {tmp_path}/db01 /etc/xen/auto/" in comes_back
    assert told(guest(tmp_path))[0].startswith(f"False {tmp_path}/db01 has also xvdb")


def test_a_configuration_that_is_gone_stands_in_no_way_back(xl: Path, home: Home, site: Site, tmp_path: Path) -> None:
    own = guest(tmp_path)
    (tmp_path / "moved").unlink()
    dom0.start_again(home, site, own)
    assert xl.read_text() == f"create {tmp_path}/moved\n"
