"""Which NIC is on which segment: frames that are heard in the guest, and what they say."""
