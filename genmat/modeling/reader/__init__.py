"""Extractive question answering: a sentence encoder from its wheel plus what tuning changed."""
