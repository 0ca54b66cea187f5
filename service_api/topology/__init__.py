"""Topology: on what the units of a site hang, from the substation to the load."""
