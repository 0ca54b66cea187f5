"""One unit: how it is now, its readings of any span, its battery figure, what happened to it."""
