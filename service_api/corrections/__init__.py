"""Corrections in force: what was decided about values of a device or a family, and by whom."""
