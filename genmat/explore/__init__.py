"""Where a material stands among all others: embeddings, nearest neighbours, maps."""

from genmat.explore.near import MaterialsMap, near, open_map

__all__ = ["MaterialsMap", "near", "open_map"]
