"""SPOTIO: field sales. Its leads and accounts are kept equal with Salesforce's, both ways; its activities become
Tasks."""
