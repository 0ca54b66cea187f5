"""Reminders: dates that come near, deadlines that run out, facts that nobody entered."""
