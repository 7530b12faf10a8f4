"""What is scored: images, masks and predictions on disk, methods that inpaint, and values that are kept."""
