"""Gated recurrent network over crystal sentences."""
