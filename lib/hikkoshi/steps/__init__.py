"""What the runbooks call: one module with one class for each of them, read in the order of its notebook."""
