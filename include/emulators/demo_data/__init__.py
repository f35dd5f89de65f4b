"""The demo's made-up world: the same companies are Accounts in Salesforce and visitors at the vendors.

Everything follows from fixed seeds and the calendar day, so every start of the emulators shows the same history.
"""
