"""A local stand-in for a Salesforce org: see README.md beside this file for what it covers."""
