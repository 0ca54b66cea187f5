"""Coverage: how much of the fleet is truly seen, and what keeps the rest from being so."""
