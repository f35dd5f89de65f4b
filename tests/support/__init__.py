"""What several tests share: the emulators as a world, PostgreSQL, and steps wired together without Airflow."""
