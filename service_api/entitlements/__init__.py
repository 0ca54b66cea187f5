"""The one-click contract check: what a unit's owner is owed on a day, with each condition."""
