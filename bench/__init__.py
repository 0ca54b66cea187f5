"""Measure what the service costs and how quick it is: `python -m bench`, or `make bench`.

Prints a table, writes `bench/results/latest.json`, never asserts a time. A figure means something
only beside the others of the same run: it is compared with what a bare poll costs on the same
machine at the same time. The daemon that is measured is the real one, `ridethrough run`, in a
process of its own. Needs Linux, whose /proc tells what each process used.
"""
