"""One module per command of ``python -m eval``; heavy imports inside the commands."""
