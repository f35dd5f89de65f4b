"""The delivery engine: readings register batches in an inbox; a delivery plans all that waits, writes it and commits it.

Plain functions without Airflow and without a vendor's name, so that they are tested, timed and killed by themselves.
"""
