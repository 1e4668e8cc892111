"""The spine: one run of a step, its journal, its locks, and where a guest stands."""
