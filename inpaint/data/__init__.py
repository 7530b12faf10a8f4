"""Training images: where they are, how they are cropped, changed, masked and batched."""
