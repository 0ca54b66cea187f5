"""Incidents: alarms with one cause."""
