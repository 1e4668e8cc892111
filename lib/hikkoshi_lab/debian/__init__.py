"""Real Debian guests, as Xen administrators made theirs."""
