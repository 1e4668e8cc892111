"""The entry that GRUB 2 boots: found as GRUB finds it, and after the preparation the planned one, however the menu says it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.guest.device import UNKNOWN
from hikkoshi.guest.files import grub, grub2, menu

DATA = Path(__file__).parents[1] / "data/boot"
CFG, ENV = "/boot/grub2/grub.cfg", "/boot/grub2/grubenv"
EL8 = (DATA / "el8-grub.cfg").read_text()  # as grub2-mkconfig of Enterprise Linux 8 and 9 writes it
OLD, NEW = "4.18.0-100.el8", "4.18.0-200.el8"
UEFI = 'menuentry "UEFI Firmware Settings" $menuentry_id_option "uefi-firmware" {\n\tfwsetup\n}\n'
SAVED = 'set default="${saved_entry}"\n'


def loader(version: str) -> str:
    return f"title Rocky ({version})\nversion {version}\nlinux /vmlinuz-{version}\ninitrd /i-{version}\noptions root=/dev/xvda2\n"


def guest(cfg: str, *remembered: str, custom: str = "", bls: bool = True) -> dict[str, str]:
    texts = {CFG: cfg, ENV: "".join(("# GRUB Environment Block\n", *(f"{s}\n" for s in remembered))).ljust(1024, "#")}
    texts |= {f"{menu.ENTRIES}m-{v}.conf": loader(v) for v in (OLD, NEW) if bls}
    return texts | ({"/boot/grub2/custom.cfg": custom} if custom else {})


def kernels(texts: dict[str, str]) -> list[str]:
    return [e.kernel.removeprefix("/vmlinuz-") for e in menu.MENUS[CFG].entries(texts, CFG)]


def booted(texts: dict[str, str]) -> str:
    return kernels(texts)[menu.MENUS[CFG].default(texts, CFG)]


def made_to_boot(texts: dict[str, str], kernel: str) -> dict[str, str]:
    return texts | menu.MENUS[CFG].prepared(texts, CFG, kernels(texts).index(kernel), UNKNOWN)


@pytest.mark.parametrize(
    ("texts", "kernel"),
    [
        (guest(SAVED + "blscfg\n", f"saved_entry=m-{OLD}"), OLD),
        (guest(SAVED + "blscfg\n", "saved_entry=1"), OLD),
        (guest(SAVED + "blscfg\n", f"saved_entry=Rocky ({OLD})"), OLD),
        (guest(SAVED + "blscfg\n", "saved_entry="), NEW),
        (guest(SAVED + "blscfg\n", "saved_entry=7"), NEW),
        (guest(SAVED + "blscfg\n", "saved_entry=gone"), NEW),
        (guest('set default="1"\nblscfg\n', "saved_entry="), OLD),
        (guest('set default="0"\nblscfg\n', f"saved_entry=m-{OLD}"), NEW),
        (guest("blscfg\n", f"saved_entry=m-{OLD}"), NEW),
        (guest(f"default=m-{OLD}\nblscfg\n"), OLD),
        (guest(f"set default='Rocky ({OLD})'; blscfg\n"), OLD),
        (guest(SAVED + "blscfg\n" + UEFI, f"saved_entry=m-{OLD}"), OLD),
        (guest('default=2\nmenuentry "Memory test" {\n linux16 /memtest.bin\n}\nblscfg\n'), OLD),
        (guest('default=1\nmenuentry "Windows" {\n chainloader +1\n}\nblscfg\n'), NEW),
        (guest("blscfg\nset default=1\n"), OLD),
        (guest("set default=0\nif [ -n '' ]; then set default=1; fi\nblscfg\n"), NEW),
        (guest('set default=0\nif test "$saved_entry" != x; then\n default=1\nfi\nblscfg\n'), OLD),
        (guest("function f {\n set default=1\n}\nblscfg\n"), NEW),
        (guest("# set default=1\nblscfg # set default=1\n"), NEW),
        (guest("fallen=1\nset default=$fallen\nblscfg\n"), OLD),
        (guest("fallen=1\nset default='$fallen'\nblscfg\n"), NEW),
        (guest("set default=0\nblscfg\nsource $prefix/custom.cfg\n", custom="set default=1\n"), OLD),
        (guest("set default=0\nblscfg\n", custom="set default=1\n"), NEW),
        (guest("insmod blscfg\nset timeout=5\n" + SAVED, f"saved_entry=m-{OLD}"), OLD),
        (guest("submenu all {\n blscfg\n}\nset default='0>1'\n"), OLD),
        (guest("submenu all {\n blscfg\n}\nset default=1\n"), NEW),
        (guest(EL8, f"saved_entry=m-{OLD}"), OLD),
        (guest(EL8, "saved_entry=1", "boot_success=0"), OLD),
        (guest(EL8, f"saved_entry=m-{NEW}", "boot_counter=0", "boot_success=0"), OLD),  # it counted down: the older one
        (guest(EL8, f"saved_entry=m-{NEW}", "boot_counter=0", "boot_success=1"), NEW),
    ],
)
def test_the_default_is_the_one_that_grub_boots(texts: dict[str, str], kernel: str) -> None:
    assert booted(texts) == kernel
    same = made_to_boot(texts, kernel)
    assert booted(same) == kernel
    for other in (OLD, NEW):
        after = made_to_boot(texts, other)
        assert booted(after) == other
        assert made_to_boot(after, other) == after
        assert len(after[ENV]) == 1024


BY_HAND = (
    "{}\nmenuentry 'new' {{\n linux /vmlinuz-2 root=/dev/xvda2\n initrd /i2\n}}\n"
    "menuentry 'old' --id second {{ linux /vmlinuz-1 root=/dev/xvda2; initrd /i1; }}\n"
)


@pytest.mark.parametrize(
    "line",
    [
        "default=1",
        "set default='1'",
        "set default='old'",
        'set default="1"',
        "set default=1",
        "default=second",
        "set default=o\\ld",
    ],
)
def test_a_default_that_somebody_wrote_by_hand_is_read_as_a_shell_would(line: str) -> None:
    texts = guest(BY_HAND.format(line), bls=False)
    assert booted(texts) == "1"
    assert made_to_boot(texts, "1")[CFG].count("default") == 1  # it is right already
    assert booted(made_to_boot(texts, "2")) == "2"


def test_the_environment_says_which_entry_where_the_menu_asks_it() -> None:
    texts = guest(EL8, f"saved_entry=m-{NEW}", "kernelopts=root=/dev/xvda2")
    after = made_to_boot(texts, OLD)
    assert after[CFG] == texts[CFG].replace("console=hvc0", "console=tty0")  # a later kernel can become the default
    assert grub2.environment(after[ENV]) == {"saved_entry": f"m-{OLD}", "kernelopts": "root=/dev/sda2"}


def test_what_was_to_be_booted_once_is_forgotten() -> None:
    texts = guest(EL8, f"saved_entry=m-{OLD}", f"next_entry=m-{NEW}", f"prev_saved_entry=m-{NEW}")
    after = made_to_boot(texts, OLD)
    known = grub2.environment(after[ENV])
    assert (known["next_entry"], known["prev_saved_entry"], known["saved_entry"]) == ("", "", f"m-{OLD}")


def test_a_menu_without_room_in_its_environment_says_it_itself() -> None:
    texts = guest(SAVED + "blscfg\n", f"saved_entry=m-{NEW}", "long=" + "x" * 950)
    after = made_to_boot(texts, OLD)
    assert booted(after) == OLD
    without = {path: content for path, content in texts.items() if path != ENV}
    assert booted(made_to_boot(without, OLD)) == OLD


def test_what_a_later_part_decides_is_decided_behind_it() -> None:
    for texts in (
        guest("blscfg\nset default=1\n"),
        guest("blscfg\n. $prefix/custom.cfg\n", custom="default=1\n"),
        guest("blscfg\nif hwmatch x; then\n set default=1\nfi\n"),  # nobody knows: it is written all the same
    ):
        after = made_to_boot(texts, NEW)
        assert after[CFG].endswith(f'set default="m-{NEW}"\n')
        assert booted(after) == NEW


def test_grub_boots_no_entry_of_the_firmware_of_another_platform() -> None:
    assert kernels(guest(EL8)) == [NEW, OLD]
    assert kernels(guest("blscfg\n" + UEFI)) == [NEW, OLD, ""]


def test_a_name_with_a_number_in_front_is_written_as_a_place() -> None:
    cfg = "menuentry 'x' {\n linux /vmlinuz-x\n}\nmenuentry '2 > 1' --id 9$ {\n linux /vmlinuz-y\n}\n"
    after = made_to_boot(guest(cfg, bls=False), "y")
    assert 'set default="1"\n' in after[CFG]
    taken = guest("set default='1 of two'\n" + cfg.replace("2 > 1", "1 of two"), bls=False)
    assert made_to_boot(taken, "y")[CFG] != taken[CFG]  # GRUB's versions differ in what it means


@pytest.mark.parametrize(
    ("line", "index"),
    [
        *(("default 1", 1), ("default=1", 1), ("default = 1", 1), ("default 1 # mine", 1), ("default\t1\t", 1)),
        *(("default 0\ndefault 1", 1), ("default saved", 0), ("default", 0), ("fallback 1", 0), ("#default 1", 0)),
    ],
)
def test_grub_legacys_default_is_its_last_and_ends_where_the_number_does(line: str, index: int) -> None:
    cfg = line + "\ntitle a\nkernel /a\ntitle b\nkernel /b\n"
    assert grub.default(cfg) == index
    for wanted in (0, 1):
        assert grub.default(grub.prepared(cfg, wanted)) == wanted


TITLES = ["a", "b", "1 b", "a > b", "a>b", "it's", "$x", "x y", ""]
NAMES = st.sampled_from([*TITLES, "0", "1"])
QUOTES = st.sampled_from(["'{}'", '"{}"', "{}"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(TITLES), st.sampled_from(TITLES), st.booleans()), min_size=1, max_size=4),
    st.sampled_from(["set default=", "default=", "set saved_entry=", "if x; then\nset default=", "set timeout="]),
    st.tuples(QUOTES, NAMES),
    st.sampled_from(["", "blscfg\n", SAVED, 'if [ "${next_entry}" ]; then set default="${next_entry}"; else ' + SAVED + "fi\n"]),
    st.sampled_from(["saved_entry=1", "next_entry=a", "saved_entry=a", "prev_saved_entry=b"]),
    st.integers(min_value=0, max_value=3),
)
def test_the_planned_entry_is_booted_whatever_the_menu_said(
    made: list[tuple[str, str, bool]], word: str, value: tuple[str, str], more: str, remembered: str, wanted: int
) -> None:
    def entry(n: int, title: str, identity: str, deep: bool) -> str:
        quoted = title.replace("'", "'\\''")
        body = f"menuentry '{quoted}' --id \"{identity.replace('$', '')}\" {{\n linux /vmlinuz-{n}\n}}\n"
        return f"submenu '{quoted}' {{\n{body}}}\n" if deep else body

    menus = "".join(entry(n, *e) for n, e in enumerate(made))
    said = word + value[0].format(value[1].replace("'", "")) + "\n" + ("fi\n" if word.startswith("if") else "")
    texts = guest(said + more + menus, remembered, bls=more == "blscfg\n")
    index = wanted % len(kernels(texts))
    after = texts | menu.MENUS[CFG].prepared(texts, CFG, index, UNKNOWN)
    assert menu.MENUS[CFG].default(after, CFG) == index
    assert grub2.Script(after[CFG], grub2.environment(after[ENV]), menu.loader_entries(after)).sure
    assert kernels(after) == kernels(texts)


def test_nothing_that_a_guest_wrote_takes_for_ever() -> None:
    for cfg in (
        "submenu x {\n" * 5000 + "menuentry a {\n}\n",
        "[ " + "-o " * 20_000,
        "if [ " + "! " * 9000 + "]; then\n",
        "'" * 9001,
    ):
        script = grub2.Script(cfg + "source custom.cfg\n", {}, [], {"custom.cfg": "source custom.cfg\n" * 99})
        assert script.default in (0, -1 + len(script.entries))
