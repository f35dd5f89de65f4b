"""`make demo` and `make stop`: the package on real Airflow against the emulators, on this machine, in the folder .demo."""
