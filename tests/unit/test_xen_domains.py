"""What runs on a Dom-0, out of what the programs of Xen print there. The outputs are theirs; names are invented."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.xen import sxp
from hikkoshi.xen.domains import Domain, Traits, detailed, listed, merged, stored

DATA = Path(__file__).parents[1] / "data" / "xen"
WORDS = st.text(st.characters(codec="ascii", exclude_characters="()'\"\\", exclude_categories=("Cc", "Zs")), min_size=1)
TREES = st.recursive(WORDS, lambda inner: st.lists(inner).map(tuple), max_leaves=30).filter(lambda t: isinstance(t, tuple))
NAMES = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1, max_size=60)


def text(name: str) -> str:
    return (DATA / name).read_text()


STORE = (DATA / "xenstore-ls-f-2guests.txt").read_text()


def test_a_store_that_is_cut_off_tells_nothing() -> None:
    with pytest.raises(ValueError, match="cut off"):
        stored(STORE[:-20])
    with pytest.raises(ValueError, match="cut off"):
        stored("")


@pytest.mark.parametrize("path", ["/local/domain/0/backend/vbd/2/51728", "/local/domain/2/device"])
def test_a_store_that_leaves_out_a_disk_does_not_say_which_disks_a_domain_has(path: str) -> None:
    assert stored(STORE)[2].disks == {"/srv/xen/db01/disk.img", "/srv/xen/db01/data.img"}
    rest = "".join(line for line in STORE.splitlines(keepends=True) if not line.startswith(path))
    assert (stored(rest)[1].disks, stored(rest)[2].disks) == (stored(STORE)[1].disks, None)


def test_a_domain_of_which_a_long_list_tells_no_device_may_be_any_guest() -> None:
    traits = Traits(frozenset({"db01"}), disks=frozenset({"/srv/a.img"}))
    listings = ('[{"domid": 3, "config": {"c_info": {"name": "b"}}}]', "(domain (domid 3) (name b))")
    for one in (detailed(text)[3] for text in listings):
        found = traits.sighting(one)
        assert found is not None
        assert not found.certain


def test_a_disk_that_is_no_path_is_known_by_its_name_as_it_is_written() -> None:
    iqn = "iqn.2001-05.com.example:a"
    disks = f'[{{"pdev_path": "{iqn}", "script": "block-iscsi"}}, {{"pdev_path": "vg0/b"}}]'
    found = detailed(f'[{{"domid": 3, "config": {{"c_info": {{"name": "b"}}, "disks": {disks}}}}}]')[3]
    assert found.disks == {iqn, "/dev/vg0/b"}
    tree = detailed("(domain (domid 3) (name b) (device (vbd (uname rbd:pool/a) (dev xvda))))")[3]
    assert tree.disks == {"rbd:pool/a"}
    assert Traits(frozenset({"a"}), disks=frozenset({"pool/a"})).sighting(tree)
    blktap = STORE.replace('params = "/srv/xen/db01/disk.img"', 'params = "/dev/xen/blktap-2/tapdev0"')
    line = '/local/domain/0/backend/vbd/2/51712/tapdisk-params = "aio:/srv/xen/db01/disk.img"\n'
    assert "/srv/xen/db01/disk.img" in (stored(blktap + line)[2].disks or ())


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        ("xl-list.txt", {"Domain-0": "r-----", "web01": "-b----"}),
        ("xl-list-2guests.txt", {"Domain-0": "r-----", "web01": "-b----", "db01": "-b----"}),
        ("xl-list-v.txt", {"Domain-0": "r-----", "web01": "r-----"}),
        ("xl-list-two-guests-shut-down-but-lingering.txt", {"Domain-0": "r-----", "db01": "--ps--", "web01": "--ps--"}),
        ("xl-list-creating.txt", {"Domain-0": "r-----", "files": "-b----", "router": "--p---"}),  # 0 MB and no processor yet
        ("xm-list-managed-guests.txt", {"Domain-0": "r-----", "gateway": "-b----"}),
        ("xl-list-null-dying.txt", {"Domain-0": "r-----", "": "--psd-"}),
        ("xm-list-migrating.txt", {"Domain-0": "r-----", "Zombie-billing": "--p--d", "migrating-ledger": "-b----"}),
    ],
)
def test_a_list_of_domains_is_read(listing: str, expected: dict[str, str]) -> None:
    assert {d.name: d.state for d in listed(text(listing))} == expected


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "\n",
        "Name ID\n",
        "Error: Unable to connect to xend: Connection refused. Is xend running?\n",
        text("xl-list-cut-off.txt"),
        text("xl-list-without-domain-0.txt"),
        text("xl-list-2guests.txt").rstrip("\n"),
        text("xl-list-2guests.txt").replace("-b----     156.7", "-b--"),
    ],
)
def test_a_list_that_is_not_whole_is_none(printed: str) -> None:
    with pytest.raises(ValueError, match="list of domains"):
        listed(printed)


@given(st.integers(1), st.data())
def test_a_list_that_breaks_off_anywhere_is_none_or_has_all_of_what_it_has(cut: int, data: st.DataObject) -> None:
    whole = text(data.draw(st.sampled_from(["xl-list-2guests.txt", "xm-list-migrating.txt"])))
    part = whole[: cut % len(whole)]
    try:
        assert set(listed(part)) <= set(listed(whole))
    except ValueError:
        return
    assert part.endswith("\n")


@given(st.lists(st.tuples(NAMES, st.integers(1, 99999), st.text("rbpscd-", min_size=6, max_size=6)), max_size=6))
def test_every_domain_of_a_list_is_found_whatever_it_is_called(rows: list[tuple[str, int, str]]) -> None:
    lines = [f"{name:<40} {number:>5}   320     1     {state}  {51.8:>8.1f}" for name, number, state in rows]
    found = listed("\n".join([*text("xl-list.txt").splitlines()[:2], *lines, ""]))[1:]
    assert [(d.id, d.state) for d in found] == [(number, state) for _, number, state in rows]
    assert [d.name for d in found] == [name if name != "(null)" else "" for name, *_ in rows]


def test_the_long_list_of_xl_tells_uuid_disks_and_macs() -> None:
    found = detailed(text("xl-list-l-2guests.json"))
    assert found[0] == Domain(0, "Domain-0", disks=frozenset())
    assert found[2].uuid == "3b2fc263-72b7-4b81-b011-4164b9e4cee2"
    assert found[2].disks == {"/srv/xen/db01/disk.img", "/srv/xen/db01/data.img"}
    assert found[2].macs == {"00:16:3e:00:02:01", "00:16:3e:00:02:02"}


def test_the_long_list_of_xm_tells_the_same_and_what_is_off_is_left_out() -> None:
    found = detailed(text("xm-list-long.sxp"))
    assert sorted(found) == [0, 7]
    assert (found[7].name, found[7].uuid) == ("ledger", "5e0c7a52-1f7e-4b9c-9d8f-3a6de0a3c0f1")
    assert (found[7].disks, found[7].macs) == ({"/srv/xen/ledger.img"}, {"00:16:3e:51:0e:01"})


def test_the_first_xl_printed_s_expressions_too() -> None:
    found = detailed(text("xl-4.1-list-long.sxp"))[5]
    assert (found.name, found.uuid) == ("gateway", "5e0c7a52-1f7e-4b9c-9d8f-3a6de0a3c0f2")
    assert (found.disks, found.macs) == ({"/srv/xen/gateway.img"}, {"00:16:3e:05:00:00"})


def test_xenstore_tells_what_xl_leaves_out() -> None:
    found = stored(text("xenstore-ls-f-2guests.txt"))
    assert found[2].disks == {"/srv/xen/db01/disk.img", "/srv/xen/db01/data.img"}
    assert (found[2].name, found[2].macs) == ("db01", {"00:16:3e:00:02:01", "00:16:3e:00:02:02"})
    assert found[2].uuid == detailed(text("xl-list-l-2guests.json"))[2].uuid


@pytest.mark.parametrize("name", ["xl-list-l-2guests.json", "xm-list-long.sxp", "xl-4.1-list-long.sxp"])
def test_a_long_list_that_breaks_off_is_none(name: str) -> None:
    whole = text(name).rstrip()
    for end in range(0, len(whole) - 1, 7):
        try:
            found = detailed(whole[:end])
        except ValueError:
            continue
        assert set(found) <= set(detailed(whole))  # cut behind a whole domain of an S-expression
        assert whole[:end].rstrip().endswith(")")


@given(st.one_of(st.text(), st.text("()[]{}'\"\\ ab:,0").map(lambda t: "[" + t)))
def test_whatever_is_printed_in_place_of_a_list_is_an_error_that_is_foreseen(printed: str) -> None:
    for read in (listed, detailed, stored):
        try:
            read(printed)
        except ValueError:
            continue


def test_json_of_another_shape_is_no_list() -> None:
    for printed in ('{"domid": 1}', '[{"domid": "x", "config": {}}]', "[[1]]", '[{"domid": 1}]', "[" * 100_000):
        with pytest.raises(ValueError, match=r"error|domain|words"):
            detailed(printed)


@given(TREES)
def test_an_s_expression_is_read_as_it_was_written(tree: sxp.Tree) -> None:
    def written(t: object) -> str:
        return f"({' '.join(map(written, t))})" if isinstance(t, tuple) else str(t)

    assert sxp.parse(written(tree)) == (tree,)


def test_brackets_without_end_are_refused_and_quotes_are_taken_off() -> None:
    for broken in ("(a", "a)", "(a 'b)", "(" * 100_000, "words"):
        with pytest.raises(ValueError, match=r"bracket|quote"):
            sxp.parse(broken)
    assert sxp.parse(r"""(a 'it\'s' "two words" (b))""") == (("a", "it's", "two words", ("b",)),)


DB01 = Traits(
    frozenset({"db01"}),
    "3b2fc263-72b7-4b81-b011-4164b9e4cee2",
    frozenset({"/srv/xen/db01/disk.img"}),
    frozenset({"00:16:3e:00:02:01"}),
)
ELSE = Domain(9, "mail", "-b----", "11111111-2222-4333-8444-555555555501", frozenset({"/srv/mail.img"}))


@pytest.mark.parametrize(
    "name",
    [
        "db01",
        "db01--incoming",
        "db01--migratedaway",
        "db01--whatever",
        "migrating-db01",
        "Zombie-db01",
        "Zombie-migrating-db01",
        "db01-20260101T1200Z",
        "db01-dm",
    ],
)
def test_a_guest_is_known_by_every_name_that_a_migration_gives_it(name: str) -> None:
    domain = Domain(9, name, "-b----", ELSE.uuid, ELSE.disks)
    found = DB01.sighting(domain)
    if name == "Zombie-migrating-db01":
        assert found is None  # no toolstack does that
    else:
        assert found
        assert found.certain


@pytest.mark.parametrize("name", ["db01b", "xdb01", "db01-2", "db011", "web01", ""])
def test_another_name_with_other_disks_is_another_guest(name: str) -> None:
    assert DB01.sighting(Domain(9, name, "-b----", ELSE.uuid, ELSE.disks)) is None


@pytest.mark.parametrize(
    ("domain", "why"),
    [
        (Domain(9, "mail", "-b----", DB01.uuid, ELSE.disks), "UUID"),
        (Domain(9, "mail", "-b----", ELSE.uuid, frozenset({"/srv/xen/db01/../db01/disk.img"})), "disk"),
        (Domain(9, "mail", "-b----", ELSE.uuid, ELSE.disks, frozenset({"00:16:3e:00:02:01"})), "MAC"),
        (Domain(9, "", "--psd-", DB01.uuid), "UUID"),
        (Domain(9, "", "--psd-"), "not known"),
        (Domain(9, "mail", "-b----", ELSE.uuid), "not known"),
    ],
)
def test_under_another_name_it_is_known_by_uuid_disk_and_mac_and_else_not_known(domain: Domain, why: str) -> None:
    found = DB01.sighting(domain)
    assert found
    assert why in found.why
    assert found.certain == (why != "not known")


def test_a_dying_domain_with_another_uuid_is_another_guest() -> None:
    assert DB01.sighting(Domain(9, "", "--psd-", ELSE.uuid)) is None


def test_the_same_disk_under_another_path_is_the_same_disk(tmp_path: Path) -> None:
    (tmp_path / "disk").touch()
    (tmp_path / "link").symlink_to("disk")
    own = Traits(frozenset({"a"}), disks=frozenset({str(tmp_path / "disk")}))
    assert own.sighting(Domain(9, "b", "-b----", "", frozenset({str(tmp_path / "link")})))
    assert own.sighting(Domain(9, "b", "-b----", "", frozenset({str(tmp_path / "else")}))) is None


def test_a_domain_that_one_list_lacks_is_still_there() -> None:
    long = detailed(text("xl-list-l-2guests.json"))
    assert {d.id for d in merged(listed(text("xl-list.txt")), long)} == {0, 1, 2}
    assert json.loads(text("xl-list-l.json"))[1]["domid"] == 1


def test_a_disk_is_found_by_the_backend_that_its_frontend_names() -> None:
    text = (
        '/local/domain/3/name = "other"\n/local/domain/3/vm = "/vm/11111111-5c5e-4d0e-9a62-2b8f4a6f0c11"\n'
        '/local/domain/3/device = ""\n/local/domain/3/device/vbd/51712/backend = "/local/domain/0/backend/qdisk/3/51712"\n'
        '/local/domain/0/backend/qdisk/3/51712/params = "aio:/srv/web.img"\n'
        '/local/domain/0/backend/qdisk/3/51712/device-type = "disk"\n'
    )
    assert stored(text)[3].disks == frozenset({"/srv/web.img"})


def test_a_guest_whose_id_is_no_number_is_not_taken_for_one_that_is_off() -> None:
    with pytest.raises(ValueError, match="which is no number"):
        detailed("(domain (domid 3.0) (name web01))")
    assert detailed("(domain (domid None) (name web01))") == {}
