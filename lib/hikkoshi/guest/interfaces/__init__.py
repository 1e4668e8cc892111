"""Which NICs a guest configures, and what ties each to its name, by its files."""
