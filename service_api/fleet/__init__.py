"""The fleet as one picture: counts, open incidents, every unit worst first; the wall; search."""
