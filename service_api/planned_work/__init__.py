"""Planned work: announced in one step, quiet by design while it lasts, and what was seen of it."""
