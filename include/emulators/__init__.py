"""Stand-ins for Salesforce and the vendors, spoken to over real HTTP by the demo and the tests.

They import nothing of salesforce_sync: an emulator that shared its code would share its mistakes.
"""
