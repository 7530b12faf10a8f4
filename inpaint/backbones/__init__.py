"""Classification backbones, built by timm: figures, weights, feature maps, speed."""
