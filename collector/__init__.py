"""From device to row: readers fetch raw values, profiles and `convert` give them meaning.

Here live addresses, profiles (one YAML file a device family), the readers (one a protocol), the
conversion of raw values to points and back, identification, and the loops that poll, listen and
ingest. Judging a reading does not: that is `rules`. Nothing here writes to a UPS.
"""
