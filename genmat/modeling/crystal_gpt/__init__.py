"""Decoder-only transformer over crystal sentences."""
