"""INGEST: what is shipped is checked, taken in one transaction, and marked."""
