"""Studies made with the scorer: ablation, roadmap, recognition, collapse. Only their commands import them."""
