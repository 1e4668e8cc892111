"""Which configuration the source is started from, where what is moved is a copy of it that leaves something out."""

import re
import shlex
from functools import partial
from pathlib import Path

from hikkoshi.check import Check
from hikkoshi.disk.xva import EXPORTS
from hikkoshi.errors import BadInput, Problem, ToolFailed
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.xen import xva
from hikkoshi.xen.config import XenGuest, beyond, parse
from hikkoshi.xen.reach.kinds import reached
from hikkoshi.xen.root import read_config, read_from
from hikkoshi.xen.tree import Tree


def check(home: Home, site: Site, guest: Guest) -> Check:
    """Whether it is known which configuration the source is started from: no other of its name has more disks or NICs."""
    check = partial(
        Check,
        code="own-configuration",
        title="the source is started from its own configuration",
        expected="one configuration of this name, or `start_config`",
        where=f"params/guests/{guest.name}.yml",
    )
    try:
        moved = read_config(home, site.dom0s[guest.dom0], guest.config)
        printed = _printed(home, site, guest)
        rest = ", ".join(left_out(home, site, guest))
        others = rivals(home, site, guest)
    except (BadInput, ToolFailed) as e:
        p = e.problems[0]
        return check(ok=False, found=f"not known: {p.what}: {p.where}", remedy=p.remedy)
    if moved.form == xva.FORM:
        remedy = (
            "see which export is the last one, made when the guest was off; name that as `config` in the guest's parameters, and "
            "the same path as `start_config`"
        )
        typed = shlex.join(xva.command("start", moved.name, moved.uuid))
        found = "; ".join([f"{guest.config} is an export: its XenServer starts the guest, by {typed}", *others])
        return check(ok=not others, found=found, remedy=remedy if others else "")
    if printed:
        remedy = (
            "name the file that the source is started from as `start_config` in the guest's parameters. Where there is none, "
            "since xend keeps the guest: write one from the table of this survey, and try it with `xm create -n FILE`"
        )
        found = f"{guest.own_config} is {printed}, as a tool printed it: Xen starts no guest from that"
        return check(ok=False, found=found, remedy=remedy)
    remedy = (
        "where `config` is a copy that leaves something out, name the guest's own file as `start_config` in its parameters; "
        "where it is the guest's own, write the same path there"
    )
    found = "; ".join(others) or f"{guest.own_config}" + (f", with what is not moved: {rest}" if rest else "")
    return check(ok=not others, found=found, remedy=remedy if others else "")


def _printed(home: Home, site: Site, guest: Guest) -> str:
    """What the source's own configuration is, where it is none that Xen starts a guest from; empty where it is, or has code."""
    try:
        return read_config(home, site.dom0s[guest.dom0], guest.own_config).form
    except BadInput:
        if guest.start_config in (None, guest.config):
            raise
        return ""


def left_out(home: Home, site: Site, guest: Guest) -> tuple[str, ...]:
    """The disks and NICs that the source has by its own configuration, and that `config` leaves out; `BadInput` without one."""
    if guest.start_config is None or guest.start_config == guest.config:
        return ()
    host = reached(home, site.dom0s[guest.dom0])
    host.expect(files=[guest.config, guest.start_config])
    moved = read_from(host, guest.config)
    try:
        own = read_from(host, guest.start_config)
    except BadInput as e:
        if e.problems[0].code != "xen-configuration-missing":  # its code is why there is a copy
            return (f"what is written in {guest.start_config} beside the copy, which cannot be read: {e.problems[0].what}",)
        raise
    if own.name != moved.name:
        raise BadInput(
            Problem(
                code="own-configuration-differs",
                what="the guest's own configuration has another name",
                where=guest.name,
                found=f"{own.name} in {guest.start_config}",
                expected=moved.name,
                remedy="correct `start_config` in the guest's parameters",
            )
        )
    return beyond(own, moved)


def rivals(home: Home, site: Site, guest: Guest) -> list[str]:
    """Other configurations of the same name, beside this one and in /etc/xen, with something that this one lacks.

    None where somebody has said which one is the source's own. `BadInput` where this one cannot be read.
    """
    if guest.start_config:
        return []
    tree = Tree(guest.dom0, reached(home, site.dom0s[guest.dom0]))
    folders = list(dict.fromkeys((guest.config.parent, Path("/etc/xen"))))
    tree.expect(folders=[(folder, 0) for folder in folders])
    moved, found = read_from(tree.host, guest.config), dict[Path, str]()
    own = tree.real(guest.config)
    for path in (path for folder in folders for path in tree.entries(folder)):
        real = tree.real(path)
        if real == own:
            continue
        if moved.form == xva.FORM:
            if _same_export(tree, path, moved):
                found[real] = f"{path} is an export of it, too"
        elif more := _more(tree.text(path), str(path), moved):
            found[real] = f"{path} has also {more}"
    return list(found.values())


def _same_export(tree: Tree, path: Path, moved: XenGuest) -> bool:
    """Whether a file is another export of the same guest, by its UUID or its name."""
    if not path.name.lower().endswith(EXPORTS):
        return False
    try:
        other = read_from(tree.host, path)
    except BadInput:
        return False
    return other.name == moved.name or bool(moved.uuid and other.uuid == moved.uuid)


def _more(text: str, where: str, moved: XenGuest) -> str:
    """What a file has beside a configuration of the same name; empty where it is none, or of another guest."""
    if not text:
        return ""
    try:
        other = parse(text, where)
    except BadInput:
        named = re.search(rf"""^\s*name\s*=\s*['"]{re.escape(moved.name)}['"]""", text, re.MULTILINE)
        return "something that cannot be read" if named else ""
    return ", ".join(beyond(other, moved)) if other.name == moved.name else ""
