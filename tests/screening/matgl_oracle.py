"""matgl itself in the convention the published weights were trained in: what the lean engines must equal.

matgl 3 moved the sum over messages to the other end of the bond. Here its own code is run on its own graphs, with that
one step put back (M3GNet), or the weights turned over (TensorNet).
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path


@contextmanager
def matgl_potential(folder: Path):
    """matgl's `Potential` from a folder; valid inside the block."""
    import matgl
    import torch
    from matgl.layers import _graph_convolution as convolution
    from matgl.utils.maths import scatter_add

    potential = matgl.load_model(folder)
    before = convolution.M3GNetGraphConv.node_update_

    def at_destination(self, edge_index, edge_feat, node_feat, rbf, u_per_edge, num_nodes):
        start, end = edge_index
        inputs = torch.hstack([node_feat[start], node_feat[end], edge_feat])
        message = self.node_update_func(inputs) * self.node_weight_func(rbf)
        return scatter_add(message, end, dim_size=num_nodes, dim=0)

    if type(potential.model).__name__ == "TensorNet":
        with torch.no_grad():
            embedding = potential.model.tensor_embedding
            embedding.emb2.weight.copy_(torch.roll(embedding.emb2.weight, embedding.units, dims=1))
            embedding.distance_proj2.weight.neg_()
            embedding.distance_proj2.bias.neg_()
    convolution.M3GNetGraphConv.node_update_ = at_destination
    try:
        yield potential
    finally:
        convolution.M3GNetGraphConv.node_update_ = before
