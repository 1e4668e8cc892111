"""Is one path slower than another: series of runs, their statistics, and when they decide."""
