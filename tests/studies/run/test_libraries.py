"""Which library multiplies is measured once in a workdir, and all that train there share it."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.device import Origin
from model.network import products
from studies.run import libraries


@pytest.fixture(autouse=True)
def _as_before():
    yield
    products.leave_to_torch(())


def measured(monkeypatch, *answers):
    """Let each measuring find the next of these."""
    rest = iter(answers)
    monkeypatch.setattr(libraries, "faster_by_torch", lambda: next(rest))


def kept(workdir):
    (path,) = (workdir / "cache" / "products").iterdir()
    return path


def test_the_first_choice_holds(tmp_path, monkeypatch):
    measured(monkeypatch, [1], [16])
    for _ in range(2):
        libraries.choose(tmp_path)
        assert products.left_to_torch() == [1]
    assert json.loads(kept(tmp_path).read_text())["rows by torch"] == [1]


def test_of_two_that_measure_at_once_the_first_to_write_is_followed(tmp_path, monkeypatch):
    def slowly():
        monkeypatch.setattr(libraries, "faster_by_torch", lambda: [16])
        libraries.choose(tmp_path)  # another worker
        return [1]

    monkeypatch.setattr(libraries, "faster_by_torch", slowly)
    libraries.choose(tmp_path)
    assert products.left_to_torch() == [16]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"rows by torch": [7]}', '{"rows by torch": "1"}'])
def test_what_is_not_whole_is_measured_again(tmp_path, monkeypatch, content):
    measured(monkeypatch, [], [1, 16])
    libraries.choose(tmp_path)
    kept(tmp_path).write_text(content)
    libraries.choose(tmp_path)
    assert products.left_to_torch() == [1, 16]
    assert json.loads(kept(tmp_path).read_text())["rows by torch"] == [1, 16]


def test_a_disk_without_hard_links_keeps_it_too(tmp_path, monkeypatch):
    def link(*_):
        raise PermissionError

    monkeypatch.setattr("os.link", link)
    measured(monkeypatch, [1], [16])
    for _ in range(2):
        libraries.choose(tmp_path)
        assert products.left_to_torch() == [1]
    kept(tmp_path)


def test_where_nothing_can_be_written_it_holds_for_the_process(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("no folder")
    measured(monkeypatch, [1])
    libraries.choose(tmp_path)
    assert products.left_to_torch() == [1]


def test_a_checkpoint_names_the_choice():
    plain = Origin.here(torch.device("cpu"), "fp32")
    products.leave_to_torch([1])
    assert "torch multiplies 1 rows" in str(Origin.here(torch.device("cpu"), "fp32"))
    assert plain != Origin.here(torch.device("cpu"), "fp32")


@given(st.sampled_from([1, 3, 15, 16, 40, 255, 256, 300]), st.sets(st.sampled_from(products.FEW_ROWS)))
def test_either_library_gives_the_product(rows, left):
    products.leave_to_torch(left)
    x, weight = torch.randn(rows, 70), torch.randn(50, 70)
    assert products.Packed(weight, rows)._multiply is torch.nn.functional.linear  # small, so always torch's
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "SMALL", 0)
        made = products.Packed(weight, rows)
    expected = x.double() @ weight.double().t()
    torch.testing.assert_close(made(x).double(), expected, rtol=0, atol=1e-4)
    class_of = 16 if rows >= 16 else 1
    by_torch = rows < products.MANY_ROWS and class_of in left
    assert (made._multiply is torch.nn.functional.linear) == (by_torch or not products.ONEDNN)


def test_what_is_measured_is_one_of_the_choices():
    assert set(products.faster_by_torch()) <= set(products.FEW_ROWS)
