"""/etc/lvm/lvm.conf: which devices LVM looks at for its physical volumes."""

from hikkoshi.guest import device
from hikkoshi.guest.files import text


def prepared(conf: str) -> str:
    """The file with the disks' new names in its filters; `xvd` in a pattern becomes `sd`."""
    return text.edit(conf, lambda body: body if body.lstrip().startswith("#") else _filter(body))


def _filter(body: str) -> str:
    words = body.split("=", maxsplit=1)[0].strip()
    if words in ("filter", "global_filter", "preferred_names", "scan", "types"):
        return body.replace("/dev/xvd", "/dev/sd").replace("^xvd", "^sd").replace("|xvd", "|sd")
    return device.renamed(body)
