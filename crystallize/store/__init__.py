"""Everything about folders on disk."""
