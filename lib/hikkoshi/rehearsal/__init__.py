"""Boot of a disk on VMware-like hardware, before vSphere sees it."""
