"""Who should go: engineers ranked for a job by skill, distance and load, with the reasons."""
