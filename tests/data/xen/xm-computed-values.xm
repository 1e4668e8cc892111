#  -*- mode: python; -*-
# The style of the examples that came with Xen 3: a Python program that only computes values.
"""
kernel of the Dom-0, guest without a boot loader of its own
"""
vmid = 7
base = '/srv/xen'
kernel  = "/boot/vmlinuz-2.6.18-" + "398.el5xen"
ramdisk = "/boot/initrd-2.6.18-398.el5xen.img"
memory  = 2 * 256
name    = "node%02d" % vmid
vif     = [ 'mac=00:16:3E:00:00:%02x, bridge=%s' % (vmid, "xenbr0"), '' ]
disk    = [ 'phy:vg0/node%d-root,xvda1,w' % vmid, 'file:' + base + '/swap,xvda2,w', ]
root    = "/dev/xvda1 ro"
extra   = "4 console=xvc0"
