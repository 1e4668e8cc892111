"""EXTLINUX's menu is written so that its reader, and EXTLINUX, find in it what was meant."""

from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.guest.files import extlinux

WORDS = st.from_regex(r"[a-zA-Z0-9=/._-]{1,20}", fullmatch=True)


@given(kernel=WORDS, initrd=WORDS | st.just(""), arguments=st.lists(WORDS, min_size=1, max_size=6))
def test_what_is_written_is_read_back(kernel: str, initrd: str, arguments: list[str]) -> None:
    conf = extlinux.menu("CentOS 5.11", kernel, initrd, " ".join(arguments))
    (entry,) = extlinux.entries(conf)
    assert (entry.kernel, entry.initrd, entry.arguments) == (kernel, initrd, tuple(arguments))
    assert extlinux.default(conf) == 0


def test_the_entry_that_is_named_is_the_default() -> None:
    conf = "DEFAULT b\nLABEL a\n LINUX /a\nLABEL b\n KERNEL /b\n APPEND ro quiet\n"
    assert extlinux.default(conf) == 1
    assert [(e.kernel, e.arguments) for e in extlinux.entries(conf)] == [("/a", ()), ("/b", ("ro", "quiet"))]


def test_a_name_that_no_entry_has_leaves_the_first() -> None:
    assert extlinux.default("default x\nlabel a\n linux /a\n") == 0
    assert extlinux.default("") == 0
    assert extlinux.entries("# nothing\n") == []
