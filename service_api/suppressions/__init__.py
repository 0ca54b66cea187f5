"""What is quiet by design: which alarms, from when to when, why, by whom."""
