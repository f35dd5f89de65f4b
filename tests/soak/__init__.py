"""Schedules at random: the engine under kills, lost answers, late calls, pauses, and edits in between; see __main__."""
