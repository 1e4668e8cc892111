"""What the user writes, and where everything of a guest has its place."""
