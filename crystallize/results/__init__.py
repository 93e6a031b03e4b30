"""Results: what a run measured, compact while it is collected, and ways to look at it."""
