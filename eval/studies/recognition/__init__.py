"""Recognition: what a pre-trained encoder knows of images' contents, against random initialisation."""
