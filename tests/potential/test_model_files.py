"""Files that are no MACE model are named for what they are, in one line."""

import pytest
import tiny
import torch

from gendesign.errors import UserError
from gendesign.potential import load_potential


class Doubling(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize(
    ("name", "source"),
    [("mine_compiled.model", "mine.model"), ("mine.model-lammps.pt", "mine.model"), ("a-jit.pt", "a.model")],
)
def test_compiled_models_name_their_source(tmp_path, trust, name, source):
    torch.jit.save(torch.jit.script(Doubling()), tmp_path / name)
    with pytest.raises(UserError, match=rf"is compiled \(TorchScript\).*; give {source},") as said:
        load_potential(str(tmp_path / name), trust_pickle=trust)
    assert "\n" not in str(said.value)


def test_training_checkpoints_and_bare_weights(tmp_path):
    net = tiny.potential().net
    state = {"model": net.state_dict(), "optimizer": {}, "lr_scheduler": {}, "epoch": 40}
    path = tmp_path / "mine_run-123_epoch-40.pt"
    torch.save(state, path)
    with pytest.raises(UserError, match=r"is a training checkpoint; give the .model, such as mine.model, that"):
        load_potential(str(path), trust_pickle=True)
    torch.save(net.state_dict(), tmp_path / "w.pt")
    with pytest.raises(UserError, match="holds weights alone"):
        load_potential(str(tmp_path / "w.pt"), trust_pickle=True)
    torch.save([1, 2], tmp_path / "l.pt")
    with pytest.raises(UserError, match="holds a list, not a MACE model"):
        load_potential(str(tmp_path / "l.pt"), trust_pickle=True)
    with pytest.raises(UserError, match="trust_pickle=true"):
        load_potential(str(path))
    torch.save(net, tmp_path / "old.model")  # as mace-torch writes it
    loaded = load_potential(str(tmp_path / "old.model"), trust_pickle=True, device="cpu")
    assert loaded.elements == tiny.potential().elements
