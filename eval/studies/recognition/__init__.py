"""Recognition: what a pre-trained encoder knows of pictures' contents, against random initialisation."""
