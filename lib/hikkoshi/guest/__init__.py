"""The guest operating system: what it is, what has to change for VMware, and the worker that changes a copy."""
