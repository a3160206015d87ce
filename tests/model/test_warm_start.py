from dataclasses import replace

import pytest
import torch

from model.settings import SIZES, Dimensions
from model.tacotron2 import Tacotron2
from model.text import FRONT_ENDS
from model.warm_start import PUBLIC_SYMBOLS, WarmStartError, warm_start

SMALL = replace(SIZES["tiny"], mel_mean=0.0, mel_scale=1.0, max_frames_per_step=1)


def public_checkpoint(path, dimensions, **content):
    torch.manual_seed(5)
    model = Tacotron2(replace(dimensions, n_symbols=148))
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"iteration": 7, "state_dict": state, "learning_rate": 1e-3, **content}, path)
    return model


def test_the_first_public_symbols_are_where_public_checkpoints_have_them():
    assert len(PUBLIC_SYMBOLS) == 64
    assert (PUBLIC_SYMBOLS[0], PUBLIC_SYMBOLS[11], PUBLIC_SYMBOLS[12], PUBLIC_SYMBOLS[38]) == (
        "_",
        " ",
        "A",
        "a",
    )


def test_a_public_checkpoint_fills_the_network_by_symbol_and_by_frame(tmp_path):
    source = public_checkpoint(tmp_path / "public.pt", SMALL)
    front_end = FRONT_ENDS["en"]
    target = Tacotron2(replace(SMALL, n_symbols=len(front_end.symbols), max_frames_per_step=3))
    fresh = target.embedding.weight.clone()
    told = warm_start(target, front_end, tmp_path / "public.pt")
    assert told.skipped == ()
    assert len(told.reshaped) == 3
    a = front_end.symbols.index("a")
    torch.testing.assert_close(target.embedding.weight[a], source.embedding.weight[38])
    end = front_end.symbols.index("~")
    torch.testing.assert_close(target.embedding.weight[end], fresh[end])
    projection = "decoder.linear_projection.linear_layer.weight"
    for block in target.state_dict()[projection].chunk(3):
        torch.testing.assert_close(block, source.state_dict()[projection])
    torch.testing.assert_close(target.encoder.lstm.weight_hh_l0, source.encoder.lstm.weight_hh_l0)


def test_a_checkpoint_of_the_public_package_loads_whole(tmp_path):
    public = pytest.importorskip("tacotron2_model")
    torch.save({"state_dict": public.Tacotron2().state_dict()}, tmp_path / "public.pt")
    target = Tacotron2(Dimensions(n_symbols=len(FRONT_ENDS["en"].symbols)))
    told = warm_start(target, FRONT_ENDS["en"], tmp_path / "public.pt")
    assert (told.reshaped, told.skipped) == (("embedding.weight",), ())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "x.pt"
    if content is None:
        torch.save({"weights": 1}, path)
    else:
        path.write_bytes(content)
    model = Tacotron2(replace(SMALL, n_symbols=len(FRONT_ENDS["en"].symbols)))
    with pytest.raises(WarmStartError, match="Cannot start from"):
        warm_start(model, FRONT_ENDS["en"], path)


def test_normalised_mels_and_other_sizes_are_refused(tmp_path):
    public_checkpoint(tmp_path / "public.pt", SMALL)
    for dimensions, reason in ((replace(SMALL, mel_scale=2.0), "plain log-mels"), (SIZES["small"], "plain")):
        with pytest.raises(WarmStartError, match=reason):
            warm_start(Tacotron2(replace(dimensions, n_symbols=43)), FRONT_ENDS["en"], tmp_path / "public.pt")
