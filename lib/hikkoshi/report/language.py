"""The language of reports: English as it stands in the code, any other from a catalogue of gettext (locale/ja.po)."""

import functools
import gettext
import re
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

Gettext = Callable[[str], str]

LOCALE = Path(__file__).parent / "locale"


def N_(message: str) -> str:
    """Mark a message for the catalogue, by gettext's own name for that; it is translated later."""
    return message


TOLD = (  # what other modules tell of a guest, as results keep it; what differs stands in braces
    # hikkoshi.guest.files.clock, vmware_tools, preparation, inspection: notes and warnings
    N_("the clock of this kernel may drift on VMware: {article} has the arguments for 64-bit guests of this release"),
    N_("the clock: let NTP keep it, and do not switch on VMware Tools' synchronisation beside it ({article})"),
    N_("VMware Tools, after the cut-over in the running guest: {command} (from its own repositories)"),
    N_(
        "VMware Tools: the repositories of {system} have no open-vm-tools. After the cut-over choose 'Install VMware Tools' "
        "for the machine in vSphere, mount the disc in the guest, unpack VMwareTools-*.tar.gz, run vmware-install.pl; answer "
        "no where it would replace vmxnet3 or pvscsi: this guest starts from the drivers that it has"
    ),
    N_("no file of the guest configures {nic}: it will be there, unconfigured"),
    N_("{file} configures {nic}, which the plan does not have: it stays as it is"),
    N_("{file} sets a MAC of its own (MACADDR): the port group must allow MAC address changes"),
    N_("boot menu entry {entry} names a kernel that is not there: {file}"),
    N_("boot menu entry {entry} names an initrd that is not there: {file}"),
    N_("the initrd {file} cannot be read: {why}"),
    N_("{file} cannot be read: {why}"),
    # hikkoshi.guest.preparation: why this kernel
    N_("the guest's own default: it boots without Xen and can drive {disk} and {nic}"),
    N_("the highest of {kernels} that boot without Xen and can drive {disk} and {nic}"),
    N_("the only one that boots without Xen and can drive {disk} and {nic}"),
    # hikkoshi.guest.edits: why a file changes
    N_("boot {kernel}; no Xen disk, no Xen console"),
    N_("no Xen disk, no Xen console"),
    N_("the boot disk's new name"),
    N_("the disks' new names"),
    N_("the disk's drivers in every initrd"),
    N_("updates of {package} stay the default"),
    N_("log in on the screen, not on Xen's console"),
    N_("root may log in on the screen"),
    N_("no Xen, so none of its drivers"),
    N_("a screen that VMware has"),
    N_("settings that only Xen's kernel knew"),
    N_("NICs and disk on VMware's drivers"),
    N_("every NIC keeps its name by its MAC"),
    N_("{nic} is the NIC with MAC {mac}"),
    N_("the kernel's own names, given by MAC"),
    N_("a list of old devices; made again by itself"),
    N_("labels for what was written from outside"),
    N_("a boot loader for a disk that had none: under Xen the Dom-0 did without"),
)


@functools.cache
def translations(lang: str) -> gettext.NullTranslations:
    """The catalogue of a language as `lang` in params/site.yml names it; English needs none."""
    if lang == "en":
        return gettext.NullTranslations()
    with (LOCALE / f"{lang}.po").open("rb") as f:
        catalogue = read_po(f, locale=lang)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def told(sentence: str, _: Gettext, known: Sequence[str] = TOLD) -> str:
    """A sentence out of a guest's results in the report's language; as it is, where it is none of the known messages."""
    for message in known:
        found = _pattern(message).fullmatch(sentence)
        if found:
            return _(message).format(**found.groupdict())
    return sentence


@functools.cache
def _pattern(message: str) -> re.Pattern[str]:
    """What a message with its braces filled in looks like."""
    parts = re.split(r"\{(\w+)\}", message)
    return re.compile("".join(f"(?P<{p}>.+)" if n % 2 else re.escape(p) for n, p in enumerate(parts)), re.DOTALL)
