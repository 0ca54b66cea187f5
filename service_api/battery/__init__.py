"""Batteries: the nightly figures of every unit, what they rest on, and the fleet's replacements.

What evidence is worth is decided in `rules.battery`; here it is read, kept and shown.
"""
