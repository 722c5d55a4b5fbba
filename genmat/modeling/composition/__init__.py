"""Models that read a composition and nothing else."""
