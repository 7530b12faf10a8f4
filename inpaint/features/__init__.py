"""Frozen feature networks, shared by training and evaluation."""
