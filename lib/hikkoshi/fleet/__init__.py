"""Many guests at once."""
