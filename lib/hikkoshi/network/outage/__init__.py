"""How long a segment was out: probes, the meter that writes them down, and how its file is read."""
