"""Operators: thin. Each resolves what Airflow knows (run, params, Variables) and calls one step."""
