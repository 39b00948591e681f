"""Who calls, and what is admitted and counted for each key."""
