"""The vSphere side: connection, inventory, import, machine, cut-over."""
