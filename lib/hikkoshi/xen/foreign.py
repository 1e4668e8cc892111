"""Texts that are given as a guest's Xen configuration and are something else: each is told for what it is, with a way out."""

import re

from hikkoshi.errors import BadInput, Problem
from hikkoshi.secret import redaction
from hikkoshi.xen.settings import DECISIVE

_HEAD = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n|[ \t]+)*+")  # comments and empty lines
_BY_HAND = (
    "write a configuration from its values: name, memory, vcpus, disk, vif with the MACs, and for a guest without a boot loader "
    "kernel, ramdisk and root. Name that as `config` in the guest's parameters"
)
_RIGHT_FILE = "see whether `config` in the guest's parameters names the right file"
_KINDS = (  # (pattern at the first line that says anything, what it is, what to do)
    (r"<[!?\w]", "XML or HTML, and not of a Xen guest", _RIGHT_FILE),
    (
        r"(?:\.encoding|config\.version|virtualHW\.\w+)[ \t]*=",
        "a configuration of VMware's (VMX)",
        "this guest is VMware's already, or is another one: " + _RIGHT_FILE,
    ),
    (r"uuid[ \t]*\([ \t]*R[OW][ \t]*\)", "what XenServer's `xe` printed", _BY_HAND),
    (
        r"(?:Name|[ \t]*Id)[ \t]+(?:ID|Name)\b.*State|-{20,}",
        "a list of guests, as `xl list`, `xm list` or `virsh list` print it",
        "it does not say what a guest is made of: name the guest's own file in /etc/xen, or what `xl list -l NAME` prints",
    ),
    (r'/(?:@|local|vm|tool|libxl)[^\n=]* = "', "what `xenstore-ls` printed", _BY_HAND),
    (
        r"(?:Error|Usage|usage|libxl|xl|xm)(?:: | \[)",
        "what a tool printed when it failed",
        "see what it complains of, and take it again",
    ),
    (r"(?:diff |--- |\+\+\+ |@@ )", "a difference between two files (diff)", _RIGHT_FILE),
    (r"\[[\w. -]+\][ \t]*(?:[#;].*)?\n", "a file in sections (INI)", _RIGHT_FILE),
    (r"(?:---|(?!try:|else:)[\w-]+:(?:[ \t]|\n))", "lines of KEY: VALUE (YAML)", f"Xen's own has KEY = VALUE; {_RIGHT_FILE}"),
)
_ANYWHERE = (  # the same at any line
    (
        r"virtualHW\.version[ \t]*=",
        "a configuration of VMware's (VMX)",
        "this guest is VMware's already, or is another one: " + _RIGHT_FILE,
    ),
    (r"XENDOMAINS_\w+=", "settings of xendomains, which starts and stops all guests", _RIGHT_FILE),
    (r"#?(?:vif\.default\.\w+|autoballoon|claim_mode|lockfile)[ \t]*=[^\n]*\n", "settings of xl itself (xl.conf)", _RIGHT_FILE),
    (r"xen_(?:major|version|caps)[ \t]+: ", "what `xl info` printed: it tells of the Dom-0", _BY_HAND),
    (r"(?:Vdev|Idx)[ \t]+BE\b", "a list of disks or NICs only, as `xl block-list` and `xl network-list` print it", _BY_HAND),
    (r"(?:tool|vm|local|libxl)[ \t]=[ \t]\"\"", "what `xenstore-ls` printed", _BY_HAND),
)
_TEMPLATE = re.compile(
    r"^[^#\n]*(?:\{\{.*\}\}|\{%.*%\}|<%.*%>)"
    r"|^[ \t]*(?:name|memory|maxmem|vcpus|uuid)[ \t]*=[ \t]*['\"]?(?:\$\{?\w+\}?|%\w+%|@\w+@|<\w+>)['\"]?[ \t]*$",
    re.MULTILINE,
)
_READ = re.compile(
    rf"(?:^|;)[ \t]*(?:{'|'.join(sorted(DECISIVE))})[ \t]*\+?=(?!>)|\b(?:execfile|exec)\b|\bimport[ \t]+\*", re.MULTILINE
)
_SETTING = re.compile(r"^[ \t]*(?:name|memory|disk)[ \t]*=", re.MULTILINE)
_DICTIONARY = re.compile(
    r"^(?:[ \t]*\w+[ \t]*=[ \t]*)?(?:\{\s*['\"]|dict[ \t]*\()(?=[^#]*\b(?:name|memory|disk)\b)", re.MULTILINE
)
_UTF_16 = re.compile(r"[^\0]{0,4}(?:(?:[^\0]\0){4}|(?:\0[^\0]){4})")
_LIBVIRT = re.compile(r"<(?:domain|domstatus|domainsnapshot)\b(?:[^>]*\btype=['\"](\w+)['\"])?")


def refuse(text: str, where: str) -> None:
    """Raise `BadInput` for a text that is no Xen configuration in any form, and is known as something else."""
    if "\0" in text:
        raise BadInput(_not_text(text, where))
    if re.search(r"\r(?!\n)", text):
        line = text[: re.search(r"\r(?!\n)", text).start()].count("\n") + 1  # type: ignore[union-attr]
        found = "a carriage return inside a line: xm begins a new line there, and xl does not"
        raise BadInput(_told(f"{where}:{line}", found, "write the file anew with plain line ends (tr '\\r' '\\n')"))
    start = text[_HEAD.match(text).end() :]  # type: ignore[union-attr]
    if start.startswith("<") and (found_type := _LIBVIRT.search(start)):
        raise BadInput(_libvirt(found_type[1] or "", where))
    if template := _TEMPLATE.search(text):
        line = text.count("\n", 0, template.start()) + 1
        found = "a template of another program, with places that it fills in: {{ … }}, <% … %>, ${NAME} or %NAME%"
        raise BadInput(_told(f"{where}:{line}", found, "name the file that this program makes of it, as it is on the Dom-0"))
    if not start:
        raise BadInput(_told(where, "an empty file" if not text.strip() else "nothing but comments", _RIGHT_FILE))
    if not _SETTING.search(start) and (told := _DICTIONARY.search(start)):
        line = text.count("\n", 0, len(text) - len(start) + told.start()) + 1
        remedy = (
            "write a copy in which each entry is a line of its own, name = 'web' for 'name': 'web', and name that as `config`"
        )
        raise BadInput(_told(f"{where}:{line}", "a dictionary: settings as a program in Python has them", remedy))
    for pattern, what, remedy in _ANYWHERE:
        if re.search("^" + pattern, start, re.MULTILINE):
            raise BadInput(_told(where, what, remedy))
    for pattern, what, remedy in _KINDS:
        if re.match(pattern, start):
            raise BadInput(_told(where, what, remedy))
    if not _READ.search(start):
        first = redaction.shown(redaction.shown(start.partition("\n")[0].strip()), redaction.LIST)[:80]
        found = f"no line that sets anything that Xen would make a guest of; it begins with {first!r}"
        raise BadInput(_told(where, found, _RIGHT_FILE))


def _libvirt(kind: str, where: str) -> Problem:
    if kind not in ("", "xen"):
        return _told(where, f"libvirt's XML of a guest of {kind}, not of Xen", _RIGHT_FILE)
    remedy = (
        f"let libvirt write Xen's form of it: virsh -c xen:/// domxml-to-native xen-xm {where} > NAME.cfg (where it knows no "
        "xen-xm: xen-xl). See that its disk and MACs are the same, and name it as `config` in the guest's parameters"
    )
    return _told(where, "libvirt's XML of a Xen guest", remedy)


def _not_text(text: str, where: str) -> Problem:
    saved = next((s for s in ("LinuxGuestRecord", "Xen saved domain", "XenSavedDomain") if s in text[:4096]), "")
    if saved:
        return _told(where, "the memory of a saved guest", _RIGHT_FILE)
    if _UTF_16.match(text):
        remedy = f"Xen cannot read it either; write it as UTF-8: iconv -f UTF-16 -t UTF-8 {where}"
        return _told(where, "a text in UTF-16", remedy)
    return _told(where, "no text: it has zero bytes in it, as an image of a disk has", _RIGHT_FILE)


def _told(where: str, found: str, remedy: str) -> Problem:
    return Problem(
        code="xen-configuration-unknown",
        what="this is no Xen configuration",
        where=where,
        found=found,
        expected="an xm or xl configuration, or what `xm list -l NAME` or `xl list -l NAME` prints",
        remedy=remedy,
    )
