"""Makes several.tar.xz: a bare disk with ext3, a volume of LVM across two disks, and an md mirror across two, each with one file.

    /usr/bin/python3 several.py FOLDER && cd FOLDER && tar -cS --sort=name --owner=0 --group=0 -f - idp-*.img | xz -9e > several.tar.xz

An appliance of libguestfs makes them, in 25 s of processor. The tests take what it made. What the moved guest checks when it
starts, idp-srv.img, was given times of 2020 by debugfs, so that no machine's clock is before them.
"""

import sys
from pathlib import Path

import guestfs

g = guestfs.GuestFS(python_return_dict=True)
for name, mib in (("srv", 64), ("old1", 48), ("old2", 48), ("mirror1", 32), ("mirror2", 32)):
    disk = Path(sys.argv[1]) / f"idp-{name}.img"
    with disk.open("wb") as f:
        f.truncate(mib << 20)
    g.add_drive(str(disk), format="raw")
g.launch()
g.mkfs("ext3", "/dev/sda")
for device in ("/dev/sdb", "/dev/sdc"):
    g.pvcreate(device)
g.vgcreate("vault", ["/dev/sdb", "/dev/sdc"])
g.lvcreate_free("old", "vault", 100)
g.mkfs("ext3", "/dev/vault/old")
g.md_create("mirror", ["/dev/sdd", "/dev/sde"], level="raid1")
(mirror,) = g.list_md_devices()
g.mkfs("ext3", mirror)
for device, text in (("/dev/vault/old", b"kept"), (mirror, b"twice"), ("/dev/sda", b"served")):
    g.mount(device, "/")
    g.write("/" + text.decode(), text)
    g.umount_all()
g.md_stop(mirror)
g.shutdown()
