"""Stress test of interatomic potentials: polymorphs, substitution, equations of state, vibrations, elastic moduli."""
