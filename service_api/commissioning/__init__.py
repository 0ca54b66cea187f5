"""Commissioning: each alarm of a unit provoked and seen to arrive, with a report both sign."""
