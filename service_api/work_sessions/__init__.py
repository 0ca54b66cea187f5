"""Work mode: an engineer checks in at a unit, whose alarms become lines of the work, and out."""
