"""Words and decisions: what a value is called, when it is an alarm, what follows from it.

Here live the table of points, the facts passed between packages, rule text, the life of an alarm,
incidents, tickets, entitlement, maintenance and battery figures: nearly all of it pure. The thin
shell (`engine`, `store`) judges batches and ticks inside somebody else's transaction.
Sockets, device protocols, HTTP and the clock do not live here.
"""
