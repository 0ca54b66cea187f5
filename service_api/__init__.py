"""Every door and the wiring behind it.

Here live the command line (the one composition root), settings, the HTTP API with its pages, one
folder a noun, and the consumers of the outbox. What a reading means or when an alarm stands is
decided elsewhere, in `collector` and `rules`.
"""
