"""Reference cases (`case.py`) and their checkers, one module per part of the system."""
