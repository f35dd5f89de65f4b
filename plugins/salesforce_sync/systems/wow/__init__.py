"""What only WOW Analytics (later GatorLeads, CommuniGator) needs."""
