"""Which record is which: domains and the choice among several Accounts. Pure: no Airflow, no database, no network."""
