"""Which Xen a Dom-0 has."""

import re
from functools import partial

from hikkoshi.check import Check
from hikkoshi.errors import HikkoshiError
from hikkoshi.params.guest import Guest
from hikkoshi.params.site import Site
from hikkoshi.xen.reach.host import PATIENCE, Dom0Host
from hikkoshi.xen.reach.kinds import asked


def xen_version(host: Dom0Host) -> str:
    """Toolstack and version, as `xl info` or `xm info` tells: `xl, Xen 4.17.7`. `ToolFailed` where it does not answer."""
    stack = host.toolstack()
    said = dict(re.findall(r"^xen_(major|minor|extra)\s*: (\S*)", host.run([stack, "info"], timeout=PATIENCE), re.MULTILINE))
    version = f"{said.get('major', '')}.{said.get('minor', '')}{said.get('extra', '')}"
    return f"{stack}, Xen {version.strip('.') or 'of a version that is not told'}"


def checks(site: Site, guest: Guest) -> list[Check]:
    """Which Xen the guest runs on, where its Dom-0 can be asked. Never red: it is only told."""
    if site.dom0s[guest.dom0].kind == "folder":
        return []
    check = partial(Check, code="xen-told", title="the Xen that the guest runs on", ok=True, where=guest.dom0)
    try:
        return [check(found=xen_version(asked(site.dom0s[guest.dom0])))]
    except HikkoshiError as e:
        return [check(found=f"not known: {e.problems[0].what}: {e.problems[0].found}", unseen="not seen")]


def known(site: Site, guest: Guest) -> str:
    """The same in words; empty where it is not known."""
    return "".join(c.found for c in checks(site, guest) if not c.unseen)
