"""What a Dom-0 tells of a guest beside its configuration: where its NICs and disks are."""
