"""Alarms: which stand, why, and what people do with them."""
