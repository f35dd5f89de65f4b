"""The Salesforce client: sessions, queries, writes, describe. It knows no Airflow, no mapping and no database."""
