"""Times on battery as episodes, and what became of the runtime that units promised."""
