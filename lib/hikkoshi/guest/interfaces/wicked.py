"""/etc/wicked/ifconfig/*.xml: what wicked takes beside SUSE's ifcfg files: wicked(7), wicked-config(5), its schema and samples.

A file holds one `<interface>` after the other, and names such as ipv4:dhcp whose prefix nobody declares. What declares entities
is not read: it could make much out of little.
"""

import fnmatch
import itertools
import re
from collections.abc import Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from hikkoshi.guest.facts import Interface, Kind
from hikkoshi.guest.files import text
from hikkoshi.guest.interfaces import address
from hikkoshi.guest.note import Note, note

FILES = "/etc/wicked/ifconfig/*.xml"  # as a pattern
_MADE = "dummy macvlan macvtap ipvlan ipvtap vxlan tun tap gre ipip sit ppp infiniband infiniband-child openvpn modem"
_KINDS: dict[str, Kind] = {
    **{"vlan": "vlan", "bridge": "bridge", "ovs-bridge": "bridge", "bond": "bond", "team": "bond"},
    **dict.fromkeys(_MADE.split(), "other"),
}


def read(texts: Mapping[str, str]) -> tuple[list[Interface], list[Note]]:
    """The interfaces of all files, but for wireless ones, and what is to be known of the files."""
    nics, notes = [], []
    for path in sorted(fnmatch.filter(texts, FILES)):
        plain = text.uncommented(texts[path])
        lines = list(itertools.accumulate(piece.count("\n") for piece in re.split(r"(?=<interface[\s/>])", plain)))
        try:
            roots = list(_tree(plain))
        except (ElementTree.ParseError, ValueError) as e:
            notes.append(note("file-not-read", file=path, why=e))
            continue
        found = [node for node in roots if node.tag == "interface"]
        others = sorted({str(node.tag) for node in roots} - {"interface"})
        notes += [note("file-not-read", file=path, why=f"<{tag}> is no interface") for tag in others]
        for n, node in enumerate(found):
            if node.find("wireless") is None:
                nics.append(_interface(path, lines[n] + 1 if len(lines) > len(found) else 1, node))
                notes += address.told(nics[-1].place, _written(node))
    return nics, notes


def _tree(plain: str) -> Element:
    """Everything that a file holds, below one root; prefixes become part of the names."""
    if "<!" in plain.replace("<![CDATA[", ""):
        raise ValueError("it declares entities or a type of document, or a comment has no end")
    body = re.sub(r"^\s*<\?xml[^>]*\?>", "", plain.removeprefix("\ufeff"))
    return ElementTree.fromstring("<all>" + re.sub(r"<(/?)([A-Za-z][\w.-]*):", r"<\1\2-", body) + "</all>")


def _interface(path: str, line: int, node: Element) -> Interface:
    named = node.find("name")
    namespace = named.get("namespace", "") if named is not None else ""
    mac = address.mac(_text(node, "name/permanent-address")) if namespace else ""
    layer = next((child for child in node if child.tag in _KINDS), None)
    kind = _KINDS[layer.tag] if layer is not None else "nic"
    tag = _text(node, "vlan/tag")
    addresses = list(dict.fromkeys(filter(None, (address.ipv4(*pair) for pair in _written(node)))))
    own = next((m for child in node if (m := address.mac(_text(child, "address")))), "")
    return Interface(
        name="" if namespace else _text(node, "name"),
        file=path,
        line=line,
        mac=mac,
        conditions=() if mac or not namespace else (f"{namespace}={' '.join(named.itertext()).strip()}",),  # type: ignore[union-attr]
        address=addresses[0] if addresses else "",
        further=tuple(addresses[1:]),
        dhcp=node.find("ipv4-dhcp") is not None and _text(node, "ipv4-dhcp/enabled").lower() not in ("false", "no", "0"),
        kind=kind,
        over=tuple(filter(None, ((d.text or "").strip() for d in layer.iter("device")))) if layer is not None else (),
        vlan=int(tag) if tag.isdecimal() and len(tag) < 5 else -1,
        part_of=_text(node, "link/master"),
        own_mac=own,
        own_mac_by="address" if own else "",
    )


def _written(node: Element) -> list[tuple[str, str]]:
    return [((found.text or "").strip(), "") for found in node.iterfind("ipv4-static/address/local")]


def _text(node: Element, place: str) -> str:
    return (node.findtext(place) or "").strip()
