"""Disk images: what they are, their content, and the VMDK made of them."""
