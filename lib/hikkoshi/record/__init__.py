"""What a run leaves: honest executed notebooks, masked secrets, reports."""
