"""The documents, and what makes the tables in them from the code."""
