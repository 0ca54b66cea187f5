"""Devices that lie on purpose: simulated UPS units behind real sockets.

Here live the physics of one unit (battery, load, heat, ageing), scenarios with faults on cue, one
server a protocol, the replay of recordings, and the generator of a unit's past. A simulated unit
speaks through the same profiles that the collector reads with, so what goes in must come out.
The readers, the database and every judgement about a reading do not live here.
"""
