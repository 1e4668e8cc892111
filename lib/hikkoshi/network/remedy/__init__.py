"""What cures it: the change, how it survives the next start, and the way back."""
