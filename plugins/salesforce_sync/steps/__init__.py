"""What the operators run: each step a function of plain values, so that it is tested, timed and killed without Airflow."""
