"""What the runbooks of the cut-over and after it call."""
