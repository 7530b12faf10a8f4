"""The scorer: fixed protocols, feature measures and reports. Run it from the clone: ``python -m eval``."""
