"""The disks of a Dom-0 over ssh: how they come to here, once, and whether they still are what came."""
