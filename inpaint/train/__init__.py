"""Learning: configs, photos, losses, schedules, states, and the two training loops."""
