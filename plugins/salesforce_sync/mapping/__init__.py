"""Which field is which: the mapping files' model, loader, transforms and application. Pure: no Airflow, no database, no network."""
