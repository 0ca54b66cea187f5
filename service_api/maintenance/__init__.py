"""Planned work: which plans there are, what is due when, and the nightly job that asks for it."""
