"""Networks: the prior, the generator it informs, the discriminator, and their presets."""
