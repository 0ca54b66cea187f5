"""Whom the organization serves, whom there to call, and where their units stand."""
