"""The wire: credentials, the Salesforce hook, and one hook per vendor."""
