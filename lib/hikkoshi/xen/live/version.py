"""Which Xen a Dom-0 has."""

import re

from hikkoshi.xen.reach.host import PATIENCE, Dom0Host


def xen_version(host: Dom0Host) -> str:
    """Toolstack and version, as `xl info` or `xm info` tells: `xl, Xen 4.17.7`. `ToolFailed` where it does not answer."""
    stack = host.toolstack()
    said = dict(re.findall(r"^xen_(major|minor|extra)\s*: (\S*)", host.run([stack, "info"], timeout=PATIENCE), re.MULTILINE))
    version = f"{said.get('major', '')}.{said.get('minor', '')}{said.get('extra', '')}"
    return f"{stack}, Xen {version.strip('.') or 'of a version that is not told'}"
