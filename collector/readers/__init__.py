"""One reader a protocol: raw values by reference, without meaning.

A reader knows how to ask and how long to wait, and what a card did not have last time. What the
values mean stands in the profile and is applied by `collector.convert`.
"""
