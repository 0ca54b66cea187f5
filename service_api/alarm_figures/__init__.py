"""How the alarm system does: read from the alarms' log, held against the standards' bounds."""
