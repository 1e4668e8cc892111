"""Move Xen guests to VMware vSphere, prove the result, leave a record."""
