"""The end of a delivery that is both sides: records that are kept equal, each field against what both last agreed on.

A row that waits only says that its record has to be looked at. Before a pair is merged, both of its records are read as
they are now, so that a row that is older than a write of ours cannot undo it; and just before a record is written it is
read once more: what moved since is left to the next plan.

sides.py has the words and what a record looks like, end.py the end itself, merging.py decides, sending.py writes.
"""
