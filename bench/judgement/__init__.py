"""How good judgement is: a simulated year of a thousand units whose truth is known.

Not the estimator's twin: how batteries fade, what firmware makes of it, how loads and rooms run and
what goes wrong are drawn from families that `rules.battery` does not know.

- `truth`     how a battery really fades, and what its room and its load do
- `observed`  what the product would see of it: buckets, tests, flags, swaps
- `fixed`     thresholds as common templates set them, on the same data
- `others`    the rules that are not about the end of batteries, on the same year and on the truth
- `score`     tickets against the truth
"""
