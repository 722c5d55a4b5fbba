"""Structures in and out: anybody's files, one dataset layout, data cards."""
