"""Order and disorder: small orderings of a mixed crystal, their energies, and what temperature makes of them."""
