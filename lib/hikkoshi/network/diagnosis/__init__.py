"""Why is a path slow: counters before and after, and the rules that name a cause."""
