"""Training: configs, losses, schedules, states, and one loop for every kind of network."""
