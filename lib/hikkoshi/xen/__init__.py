"""The Xen side: configurations, the Dom-0, disks as Xen names them."""
