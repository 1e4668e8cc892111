"""The body of the lab's vSphere: what is switched on there runs in QEMU, and its NICs hang on the lab's switch."""
