"""What the kinds of runs train, and how they take a step."""
