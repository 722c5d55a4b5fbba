"""What papers say: readers, quantities, materials and property records with the place they were read at."""
