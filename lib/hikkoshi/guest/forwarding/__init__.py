"""Whether a guest passes packets on between its networks, by its files."""
