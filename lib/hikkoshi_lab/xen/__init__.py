"""A real Xen in the lab: a Debian Dom-0 with paravirtual guests, in QEMU."""
