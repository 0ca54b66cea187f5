"""Battery health: what a battery can still give, and when it has to be replaced.

Pure: arrays and records in, a `BatteryFigure` out; nobody reads a clock, a socket or a database
here. The way of one battery through these modules:

- `ageing`     days at a temperature → equivalent age
- `days`       15-minute buckets → what each day tells of runtime at its loads
- `baseline`   days → own reference curve; months → how far runtime has fallen since
- `swaps`      steps up, steps with a new firmware: where a history begins anew
- `discharge`  an outage or long test → how long a full battery would have lasted
- `signs`      self-tests and the unit's own flag → what is believed of them
- `life`       all evidence → posterior of life, over many shapes of ageing
- `figure`     posterior and signs → index, window, advice, in words
- `verdict`    figures from night to night → when a ticket opens
- `cohort`     one battery beside its like

`judge_battery` in `figure` is the door. It estimates and says so; a capacity test measures.
"""
