"""The optimizer: orthogonal steps against a singular value decomposition, and every parameter in one of its parts."""

import tiny
import torch

from gendesign.potential import mace
from gendesign.train.muon import Muon, matrices, orthogonal


def test_orthogonal_keeps_the_singular_vectors():
    torch.manual_seed(0)
    for shape in ((20, 20), (12, 30), (30, 12)):
        given = torch.randn(3, *shape)
        found = orthogonal(given)
        left, _, right = torch.linalg.svd(given, full_matrices=False)
        inner = left.mT @ found @ right.mT
        diagonal = torch.diagonal(inner, dim1=-2, dim2=-1)
        assert (inner - torch.diag_embed(diagonal)).abs().max() < 1e-3
        assert diagonal[:, :5].min() > 0.5 and diagonal.max() < 1.4


def test_views_are_the_weights_of_each_irrep_and_element():
    net = mace.from_plain(tiny.settings(max_l=1))
    named = dict(net.named_parameters())
    views = matrices(net)
    assert {"interactions.0.linear_up.weight", "interactions.1.skip_tp.weight"} <= set(views)
    for name, view in views.items():
        parts = view(named[name].data)
        assert sum(part.numel() for part in parts) == named[name].numel()
        assert all(part.data_ptr() >= named[name].data_ptr() for part in parts)


def test_every_free_parameter_moves_and_frozen_ones_rest():
    torch.manual_seed(0)
    net = mace.from_plain(tiny.settings())
    net.node_embedding.requires_grad_(False)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.randn_like(p) if p.requires_grad else None
    Muon(net, 0.01).step()
    for name, p in net.named_parameters():
        assert torch.equal(p, before[name]) == (not p.requires_grad), name
