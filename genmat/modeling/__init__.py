"""Hugging Face models of the crystal language; each folder can be read, and run, alone."""
