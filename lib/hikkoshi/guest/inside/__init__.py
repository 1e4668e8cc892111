"""What runs beside the worker: like it, by the system's own Python, with its standard library alone."""
