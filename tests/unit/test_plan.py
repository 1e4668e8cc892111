"""Decisions: every NIC by its MAC, the same plan from the same survey, and every problem told."""

import json
from pathlib import Path

import pytest

from hikkoshi import tool
from hikkoshi.approval import plan
from hikkoshi.check import Check
from hikkoshi.guest.survey import Survey, names
from hikkoshi.params.home import Home

DATA = Path(__file__).parents[1] / "data" / "survey"


@pytest.fixture
def survey() -> Survey:
    """The lab's gateway as 10-survey found it."""
    return Survey.model_validate_json((DATA / "gateway.json").read_bytes())


def inside(survey: Survey, **macs: str) -> Survey:
    """The same guest with other HWADDRs in its ifcfg files."""
    interfaces = [i.model_copy(update={"mac": macs.get(i.name, i.mac)}) for i in survey.guest.interfaces]
    return survey.model_copy(update={"guest": survey.guest.model_copy(update={"interfaces": tuple(interfaces)})})


def red(home: Home, survey: Survey) -> list[str]:
    return [c.title for c in plan.checks(home.guest("gateway"), home.site(), survey) if not c]


def test_the_shipped_gateway_has_no_red_check(home: Home, survey: Survey) -> None:
    assert red(home, survey) == []


def test_a_nic_is_named_by_its_hwaddr_not_by_its_place_in_the_configuration(home: Home, survey: Survey) -> None:
    first, second = (v.mac for v in survey.xen.vifs[:2])
    swapped = inside(survey, eth0=second, eth1=first)
    assert names(swapped)[:3] == ("eth1", "eth0", "eth2")
    nics = plan.make(home, home.guest("gateway"), home.site(), swapped).vm.nics
    assert {n.name: n.mac for n in nics[:2]} == {"eth1": first, "eth0": second}


def test_a_nic_is_named_by_udevs_rules_and_link_files_too(survey: Survey) -> None:
    without = inside(survey, **{i.name: "" for i in survey.guest.interfaces})
    first, second = (v.mac.lower() for v in survey.xen.vifs[:2])
    guest = without.guest.model_copy(update={"pinned": {"eth0": second, "eth1": first}})
    assert names(without.model_copy(update={"guest": guest}))[:3] == ("eth1", "eth0", "eth2")


def test_where_systemd_named_xens_nics_the_plan_has_these_names(survey: Survey) -> None:
    nics = tuple(i.model_copy(update={"name": f"enX{n}", "mac": ""}) for n, i in enumerate(survey.guest.interfaces))
    newer = survey.model_copy(update={"guest": survey.guest.model_copy(update={"interfaces": nics})})
    assert names(newer)[:3] == ("enX0", "enX1", "enX2")


def test_the_address_of_a_nic_follows_its_hwaddr_into_the_subnet_check(home: Home, survey: Survey) -> None:
    first, second = (v.mac for v in survey.xen.vifs[:2])
    assert red(home, inside(survey, eth0=second, eth1=first)) == ["every address lies in its segment's subnet"]


def test_nics_without_hwaddr_are_named_in_order_by_what_is_left(survey: Survey) -> None:
    none = inside(survey, **{f"eth{n}": "" for n in range(10)})
    assert names(none) == tuple(f"eth{n}" for n in range(10))
    last = survey.xen.vifs[9].mac
    assert names(inside(none, eth0=last))[9] == "eth0"
    assert sorted(names(inside(none, eth0=last))) == sorted(f"eth{n}" for n in range(10))


def test_a_hwaddr_that_no_nic_has_is_red(home: Home, survey: Survey) -> None:
    stale = inside(survey, eth3="00:16:3e:ff:ff:ff")
    assert "every HWADDR in the guest is the MAC of one of its NICs" in red(home, stale)


def mapped(home: Home, survey: Survey, right: str, wrong: str) -> list[Check]:
    """The red checks, with one MAC of the guest's parameters changed."""
    guest = home.guest("gateway")
    nics = tuple(n.model_copy(update={"mac": n.mac.replace(right, wrong)}) for n in guest.nics)
    return [c for c in plan.checks(guest.model_copy(update={"nics": nics}), home.site(), survey) if not c]


def test_a_typing_error_in_a_mac_is_one_problem_that_names_the_mac_that_is_meant(home: Home, survey: Survey) -> None:
    right = survey.xen.vifs[4].mac.lower()
    wrong = right[:-2] + "ee"
    (problem,) = mapped(home, survey, right, wrong)
    assert wrong in problem.title
    assert problem.remedy == f"did you mean {right}?"


def test_a_mac_like_none_of_the_guests_leaves_its_nic_on_no_segment(home: Home, survey: Survey) -> None:
    right = survey.xen.vifs[4].mac.lower()
    unmapped, stray = mapped(home, survey, right, "52:54:00:ab:cd:ef")
    assert f"({right})" in unmapped.found
    assert (stray.title, stray.remedy) == (
        "the NIC 52:54:00:ab:cd:ef in the parameters is in the Xen configuration",
        "correct the MAC, or remove it",
    )


def test_the_same_survey_gives_the_same_hash_and_any_change_another(home: Home, survey: Survey) -> None:
    def hash_of(s: Survey) -> str:
        return plan.make(home, home.guest("gateway"), home.site(), s).hash

    assert hash_of(survey) == hash_of(Survey.model_validate(json.loads(survey.model_dump_json())))
    more = survey.model_copy(update={"xen": survey.xen.model_copy(update={"memory_mb": 644})})
    assert hash_of(survey) != hash_of(more)


def test_the_hash_is_what_sha256sum_prints_of_the_file_and_stays_so_when_it_is_read(
    home: Home, survey: Survey, tmp_path: Path
) -> None:
    made = plan.make(home, home.guest("gateway"), home.site(), survey)
    printed = tool.run(["sha256sum", made.save(tmp_path)]).stdout.split()[0]
    assert made.hash == printed == plan.Plan.load(tmp_path).hash


@pytest.mark.parametrize(
    ("distribution", "release", "arch", "expected"),
    [
        ("centos", "5.11", "x86_64", "centos64Guest"),
        ("centos", "5.11", "i686", "centosGuest"),
        ("centos", "6.10", "x86_64", "centos6_64Guest"),
        ("rhel", "5.11", "x86_64", "rhel5_64Guest"),
        ("debian", "12", "x86_64", "debian12_64Guest"),
        ("ubuntu", "22.04", "x86_64", "ubuntu64Guest"),
        ("slackware", "14", "x86_64", "other26xLinux64Guest"),
    ],
)
def test_vsphere_has_its_own_name_for_the_operating_system(
    survey: Survey, distribution: str, release: str, arch: str, expected: str
) -> None:
    guest = survey.guest.model_copy(update={"distribution": distribution, "release": release, "arch": arch})
    assert plan.guest_id(survey.model_copy(update={"guest": guest})) == expected


def test_a_name_that_the_hardware_version_lacks_gives_way_to_the_nearest_and_the_checks_say_so(
    home: Home, survey: Survey
) -> None:
    debian = survey.guest.model_copy(update={"distribution": "debian", "release": "12"})
    newer = survey.model_copy(update={"guest": debian})
    assert plan.make(home, home.guest("gateway"), home.site(), newer).vm.guest_id == "debian7_64Guest"
    told = [c for c in plan.checks(home.guest("gateway"), home.site(), newer) if c.code == "guest-id-nearest"]
    assert [(c.ok, c.found) for c in told] == [(True, "debian7_64Guest, for debian12_64Guest (from version 20)")]
    assert "guest-id-nearest" not in [c.code for c in plan.checks(home.guest("gateway"), home.site(), survey)]


def test_the_guests_file_may_say_another_name(home: Home, survey: Survey) -> None:
    guest = home.guest("gateway")
    wished = guest.model_copy(update={"vm": guest.vm.model_copy(update={"guest_id": "otherLinux64Guest"})})
    assert plan.make(home, wished, home.site(), survey).vm.guest_id == "otherLinux64Guest"
    assert [c for c in plan.checks(wished, home.site(), survey) if not c] == []
