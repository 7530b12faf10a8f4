"""Networks: priors, adapter, generator, discriminators, and their presets."""
