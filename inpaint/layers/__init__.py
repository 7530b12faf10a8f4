"""Building blocks: modules without opinions."""
