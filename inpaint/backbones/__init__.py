"""Classification backbones, built by timm: what is known of each, what it sees, how fast it is."""
