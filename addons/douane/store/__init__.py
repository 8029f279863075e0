"""State: the one place with SQL. One writer thread, one transaction a step, closed on error."""
