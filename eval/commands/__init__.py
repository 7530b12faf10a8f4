"""The commands of ``python -m eval``; heavy imports inside the commands."""
