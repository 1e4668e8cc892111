"""Parameter files: read strictly, and every mistake told with its line."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.errors import BadInput, Problem
from hikkoshi.params import schema
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.params.yamlfile import read
from hikkoshi.run.run import open_run
from hikkoshi.secret.reference import Secret


def edit(home: Home, file: str, old: str, new: str) -> Path:
    path = home.root / "params" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def problems(home: Home, guest: str = "gateway") -> tuple[Problem, ...]:
    with pytest.raises(BadInput) as caught:
        home.guest(guest)
    return caught.value.problems


def test_the_shipped_site_and_guests_are_valid(home: Home) -> None:
    assert home.guest_names() == ["gateway", "idp"]
    assert [len(home.guest(name).nics) for name in home.guest_names()] == [10, 1]


@pytest.mark.parametrize(
    "name", ["register.tsv", "Register.TSV", "../guests/idp", "idp/../idp", ".", "..", "", "idp\n", "a b", "x" * 64]
)
def test_what_leads_out_of_a_guests_folder_is_no_guests_name(home: Home, name: str) -> None:
    if "/" not in name and name.strip("."):
        file = home.root / "params/guests" / f"{name}.yml"
        file.write_text((home.root / "params/guests/idp.yml").read_text().replace("name: idp", f"name: {name}"))
    for ask in (home.guest, home.folder):
        with pytest.raises(BadInput, match="can be no guest's name"):
            ask(name)
    assert home.guest_names() == ["gateway", "idp"]


def test_a_guests_file_that_is_named_like_a_file_of_the_records_is_told(home: Home) -> None:
    from hikkoshi.run import status

    (home.root / "params/guests/idp.yml").rename(home.root / "params/guests/register.tsv.yml")
    edit(home, "guests/register.tsv.yml", "name: idp", "name: register.tsv")
    assert [c.title for c in status.checks(home) if not c] == ["params/guests/register.tsv.yml can be used"]
    with pytest.raises(BadInput, match=r"register\.tsv is a file of the records"):
        read(Guest, home.root / "params/guests/register.tsv.yml")
    assert [s.guest for s in status.status(home)] == ["gateway"]


def test_a_misspelt_key_is_told_with_file_line_and_the_right_spelling(home: Home) -> None:
    path = edit(home, "guests/gateway.yml", "config: /etc/xen/gateway", "confg: /etc/xen/gateway")
    line = path.read_text().splitlines().index("confg: /etc/xen/gateway") + 1
    missing, unknown = problems(home)
    assert "'config' is missing" in missing.what
    assert unknown.where.startswith(f"{path}:{line}:")
    assert unknown.remedy == "did you mean config?"


def test_all_mistakes_of_a_file_are_told_at_once(home: Home) -> None:
    edit(home, "site.yml", "vlan: 301", "vlan: 5000")
    path = edit(home, "site.yml", "hardware_version: 10", "hardware_versoin: 10")
    with pytest.raises(BadInput) as caught:
        home.site()
    assert len(caught.value.problems) == 2
    assert {p.where.split(":")[1] for p in caught.value.problems} == {
        str(n) for n, text in enumerate(path.read_text().splitlines(), 1) if "5000" in text or "versoin" in text
    }


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("site", "key: outputs/keys/operator", "valid_days: soon", "a whole number: days after which an approval"),
        ("site", "key: outputs/keys/operator", "valid_days: 100", "90 or less: days after which an approval"),
        ("site", "key: outputs/keys/operator", "two_persons: perhaps", "true or false: whoever carries a step out"),
        ("site", "key: outputs/keys/operator", "key: 3", "a path: private key of whoever runs the steps"),
        ("site", "key: outputs/keys/operator", "time_stamp: ftp://x", "http or https address, without user and password, of"),
        ("site", "server: 127.0.0.1:8989", "server: http://vc", "host or host:port"),
        ("site", "datacenter: campus", "datacenter: 5", "a text, in quotes where it looks like something else"),
        ("guests/gateway", "segment: vlan301 }", "segment: vlan 301 }", "a name that begins with a letter or digit, of"),
        ("guests/gateway", "shell: netns:", "shell: telnet:", "such as here, ssh://root@gateway, netns:"),
        ("guests/gateway", "server: 10.3.2.20 }", "server: 10.3.2.x }", "an IPv4 address: address at which netserver"),
        ("guests/gateway", "seconds: 1 ", "seconds: 0 ", "1 or more: seconds of one netperf run"),
        ("guests/gateway", "dom0: xenhost", "dom0: xenhost\nvm: { nic: ne2k }", "'vmxnet3' or 'e1000'"),
        ("site", "  xenhost:", "  xen host:", "a name that begins with a letter or digit, of letters"),
        ("site", "  vlan301:", "  _vlan301:", "a name that begins with a letter or digit, of letters"),
        ("guests/gateway", "    vlan301: {", "    vlan 301: {", "a name that begins with a letter or digit, of letters"),
        ("guests/gateway", "seconds: 1 ", "seconds: .inf ", "a "),
        ("guests/gateway", "dom0: xenhost", "dom0: xenhost\nwave: true", "a whole number: in which wave"),
        ("guests/gateway", "dom0: xenhost", "dom0: xenhost\n3: 4", "names as keys"),
        ("guests/gateway", "dom0: xenhost", "dom0: xenhost\nvm: small", "keys with their values"),
    ],
)
def test_what_a_value_should_be_is_told_in_a_persons_words(home: Home, file: str, old: str, new: str, expected: str) -> None:
    path = home.root / "params" / f"{file}.yml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(BadInput) as e:
        home.site() if file == "site" else home.guest("gateway")
    assert e.value.problems[0].expected.startswith(expected)
    assert not re.search("Input|String|pattern|Value error", str(e.value))


def test_a_password_in_the_address_of_a_time_stamp_service_is_not_repeated(home: Home) -> None:
    path = home.root / "params" / "site.yml"
    path.write_text(path.read_text().replace("signing:", "signing:\n  time_stamp: https://me:open-sesame@tsa.example", 1))
    with pytest.raises(BadInput, match="without user and password") as e:
        home.site()
    assert "sesame" not in str(e.value)


def test_a_misspelt_key_inside_a_segment_names_its_own_line(home: Home) -> None:
    path = edit(home, "site.yml", "{ vlan: 302, port_group: dv-vlan302", "{ vlan: 302, port_grp: dv-vlan302")
    with pytest.raises(BadInput) as caught:
        home.site()
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "port_grp" in text)
    assert all(f"{path}:{line}:" in p.where for p in caught.value.problems)
    assert any(p.remedy == "did you mean port_group?" for p in caught.value.problems)


def test_a_key_written_twice_is_an_error_with_its_line(home: Home) -> None:
    edit(home, "guests/idp.yml", "dom0: xenhost", "dom0: xenhost\ndom0: other")
    (problem,) = problems(home, "idp")
    assert "not YAML" in problem.what
    assert ":5" in problem.where or ":4" in problem.where


def test_an_unknown_guest_is_told_with_the_nearest_name(home: Home) -> None:
    (problem,) = problems(home, "gatway")
    assert problem.remedy == "did you mean gateway?"


def test_a_guests_file_that_leads_nowhere_or_is_no_file_is_told_as_what_it_is(home: Home) -> None:
    path = home.guest_file("idp")
    path.unlink()
    path.symlink_to("../idp.yml")
    with pytest.raises(BadInput, match=r"a link to \.\./idp.yml: No such file or directory"):
        home.guest("idp")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BadInput, match="not a regular file"):
        home.guest("idp")


def test_a_segment_that_the_site_does_not_have_is_told_with_its_nic(home: Home) -> None:
    edit(home, "guests/gateway.yml", "segment: vlan302", "segment: vlan320")
    (problem,) = problems(home)
    assert "00:16:3e:05:00:01" in problem.where
    assert "vlan302" in problem.expected
    assert problem.remedy.startswith("did you mean vlan3")


SECOND = """
vspheres:
  hospital:
    server: hospital.example.org
    user: mover
    password: env:HOSPITAL
    sha256: "{}"
    datacenter: east
    cluster: wards
    datastore: fast
""".format(":".join(["ab"] * 32))


def second(home: Home, guest: str = "gateway", name: str = "hospital") -> None:
    """The site has a second vSphere, where vlan304 is another port group, and the guest goes there."""
    edit(home, "site.yml", "port_group: dv-vlan304,", "port_group: dv-vlan304, port_groups: { hospital: VM 304 },")
    home.site_file.write_text(home.site_file.read_text() + SECOND)
    edit(home, f"guests/{guest}.yml", f"name: {guest}\n", f"name: {guest}\nvsphere: {name}\n")


def test_a_guest_goes_to_the_vsphere_that_its_file_names_and_to_the_port_groups_there(home: Home) -> None:
    second(home)
    _, site = home.parameters("gateway")
    assert (site.vsphere.server, home.site("gateway").vsphere.server) == ("hospital.example.org",) * 2
    assert [site.segments[name].port_group for name in ("vlan303", "vlan304")] == ["dv-vlan303", "VM 304"]


def test_a_guest_whose_file_names_no_vsphere_goes_to_the_sites_own(home: Home) -> None:
    second(home)
    _, site = home.parameters("idp")
    assert (site.vsphere, home.site("idp")) == (home.site().vsphere, home.site())
    assert site.segments["vlan304"].port_group == "dv-vlan304"


def test_a_vsphere_that_the_site_does_not_have_is_told_with_the_nearest(home: Home) -> None:
    second(home, name="hopsital")
    (problem,) = problems(home)
    assert (problem.code, problem.found, problem.remedy) == ("vsphere-unknown", "hopsital", "did you mean hospital?")


def test_a_port_group_of_a_vsphere_that_the_site_does_not_have_is_refused(home: Home) -> None:
    edit(home, "site.yml", "port_group: dv-vlan304,", "port_group: dv-vlan304, port_groups: { hospital: VM 304 },")
    assert "segments.vlan304.port_groups names hospital, which vspheres does not have" in problems(home)[0].expected


def test_every_secret_of_every_vsphere_is_known(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    second(home)
    monkeypatch.setenv("HOSPITAL", "a long word")
    assert "env:HOSPITAL" in {s.name for s in home.secrets()}


def test_a_name_that_differs_from_the_files_name_is_refused(home: Home) -> None:
    edit(home, "guests/gateway.yml", "name: gateway", "name: gatekeeper")
    assert problems(home)[0].found == "gatekeeper"


@pytest.mark.parametrize("both_or_neither", ["", "  sha256: " + ":".join(["ab"] * 32) + "\n  ca: outputs/lab/ca.pem\n"])
def test_the_server_must_be_trusted_in_exactly_one_way(home: Home, both_or_neither: str) -> None:
    edit(home, "site.yml", "  ca: outputs/lab/ca.pem\n", both_or_neither)
    with pytest.raises(BadInput, match="either ca or sha256"):
        home.site()


def test_a_password_written_into_the_file_is_refused(home: Home) -> None:
    edit(home, "site.yml", "password: file:outputs/lab/vcenter.password", "password: hunter2")
    with pytest.raises(BadInput, match="password"):
        home.site()


def test_no_home_says_how_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIKKOSHI_HOME", str(tmp_path))
    with pytest.raises(BadInput, match="HIKKOSHI_HOME"):
        Home.find()


def test_the_home_is_found_from_a_folder_inside_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HIKKOSHI_HOME", raising=False)
    assert Home.find(start=home.root / "params" / "guests") == home


def test_a_secret_never_shows_its_value() -> None:
    secret = Secret("env:PASSWORD", "hunter2")
    shown = f"{secret} {secret!r} {secret!s:>30} {[secret]}" + "%s" % secret  # noqa: UP031
    assert "hunter2" not in shown
    assert secret.reveal() == "hunter2"


def test_a_secrets_file_readable_by_others_is_refused(home: Home) -> None:
    path = home.root / "password"
    path.write_text("hunter2\n")
    path.chmod(0o644)
    with pytest.raises(BadInput, match="chmod 600") as caught:
        home.secret("file:password")
    assert "hunter2" not in str(caught.value)
    path.chmod(0o600)
    assert home.secret("file:password").reveal() == "hunter2"


def test_a_secret_that_is_not_there_is_told_by_its_name(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(BadInput, match="NOT_THERE"):
        home.secret("env:NOT_THERE")
    with pytest.raises(BadInput, match=r"nowhere"):
        home.secret("file:nowhere")


@given(st.text(max_size=200))
def test_any_text_as_a_parameter_file_gives_a_guest_or_bad_input(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "guest.yml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(BadInput):
        read(Guest, path)


@settings(deadline=None)
@given(st.integers())
def test_a_vlan_is_taken_exactly_from_0_to_4094(home_text: str, tmp_path_factory: pytest.TempPathFactory, vlan: int) -> None:
    path = tmp_path_factory.mktemp("vlan") / "site.yml"
    path.write_text(home_text.replace("vlan: 301,", f"vlan: {vlan},"))
    if 0 <= vlan <= 4094:
        assert read(Site, path).segments["vlan301"].vlan == vlan
    else:
        with pytest.raises(BadInput):
            read(Site, path)


@pytest.fixture(scope="module")
def home_text() -> str:
    return (Path(__file__).parents[2] / "params" / "site.yml").read_text()


def test_the_schemas_for_editors_are_those_of_the_models(tmp_path: Path) -> None:
    schema.write(tmp_path)
    for made in tmp_path.iterdir():
        kept = Path(__file__).parents[2] / "params" / "schema" / made.name
        assert kept.read_text() == made.read_text(), "run make schemas"


def test_an_address_that_answers_has_to_be_in_its_segments_subnet(home: Home) -> None:
    edit(home, "site.yml", "answers: 10.3.1.10", "answers: 10.3.2.10")
    with pytest.raises(BadInput, match=r"subnet 10\.3\.1\.0/24"):
        home.site()


def test_a_measurement_from_an_address_of_no_known_kind_is_refused_with_its_line(home: Home) -> None:
    path = edit(home, "guests/gateway.yml", "watch: netns:", "watch: telnet:")
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "telnet" in text)
    (problem,) = problems(home)
    assert problem.where.startswith(f"{path}:{line}: measurement.watch")


def test_a_mac_that_is_none_is_refused_where_it_is_written(home: Home) -> None:
    path = home.guest_file("idp")
    path.write_text(path.read_text().replace("00:16:3e:01:00:00", "00:16:3e:01:00:0"))
    with pytest.raises(BadInput, match=r"idp\.yml:7: nics\.0\.mac(?s:.*)six pairs of hexadecimal digits"):
        home.guest("idp")


def test_what_is_wrong_with_the_sites_file_and_with_the_guests_is_told_at_once(home: Home) -> None:
    for path, old, new in [(home.guest_file("idp"), "dom0:", "domo:"), (home.site_file, "lang:", "lnag:")]:
        path.write_text(path.read_text().replace(old, new))
    with pytest.raises(BadInput) as e:
        home.parameters("idp")
    assert [p.what for p in e.value.problems] == ["unknown key 'lnag'", "key 'dom0' is missing", "unknown key 'domo'"]
    with pytest.raises(BadInput, match=r"(?s)lnag.*domo"):
        open_run("40-convert", {"guest": "idp", "home": str(home.root)})
