import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model import checkpoint


def fill(content):
    def write(folder):
        (folder / "a.bin").write_bytes(content)
        (folder / "b.txt").write_text("second")

    return write


def test_a_written_checkpoint_verifies_and_is_the_newest(tmp_path):
    checkpoint.write(tmp_path, 10, fill(b"x" * 9000))
    last = checkpoint.write(tmp_path, 20, fill(b"y" * 9000))
    warnings = []
    assert checkpoint.newest(tmp_path, warnings.append) == last
    assert warnings == []


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_byte_or_cut_falls_back_to_the_one_before_and_says_so(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("trial")
    good = checkpoint.write(folder, 10, fill(b"x" * 5000))
    bad = checkpoint.write(folder, 20, fill(b"y" * 5000))
    file = bad / data.draw(st.sampled_from(["a.bin", "b.txt", "manifest.json"]))
    content = bytearray(file.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:position]
    else:
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    warnings = []
    found = checkpoint.newest(folder, warnings.append)
    if found == bad:  # a flipped bit may change the manifest's white space, never the data
        assert file.name == "manifest.json"
        checkpoint.verify(bad)
    else:
        assert found == good
        assert "damaged" in warnings[0]


@pytest.mark.parametrize("change", [('"bytes"', '"cytes"'), ('"files": {', '"files": 1, "was": {')])
def test_a_manifest_of_another_make_is_damage_and_no_crash(tmp_path, change):
    bad = checkpoint.write(tmp_path, 20, fill(b"y"))
    manifest = bad / "manifest.json"
    manifest.write_text(manifest.read_text().replace(*change))
    with pytest.raises(checkpoint.DamagedCheckpoint, match="no readable manifest"):
        checkpoint.verify(bad)


def test_a_newer_schema_is_passed_over(tmp_path):
    bad = checkpoint.write(tmp_path, 20, fill(b"y"))
    manifest = bad / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(checkpoint.DamagedCheckpoint, match="schema 2"):
        checkpoint.verify(bad)


def test_a_failed_write_leaves_the_old_ones_and_nothing_half_written(tmp_path):
    good = checkpoint.write(tmp_path, 10, fill(b"x"))

    def disk_full(folder):
        (folder / "a.bin").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(tmp_path, 20, disk_full)
    assert [path.name for path in tmp_path.iterdir()] == [good.name]
    checkpoint.verify(good)


def test_two_and_the_best_are_kept(tmp_path):
    for step in (10, 20, 30, 40):
        checkpoint.write(tmp_path, step, fill(b"x"))
    checkpoint.keep(tmp_path, 2, also={10})
    assert [path.name for path in checkpoint.all_in(tmp_path)] == [
        "ckpt-00000010",
        "ckpt-00000030",
        "ckpt-00000040",
    ]


def test_the_same_step_can_be_written_again(tmp_path):
    checkpoint.write(tmp_path, 10, fill(b"old"))
    path = checkpoint.write(tmp_path, 10, fill(b"new"))
    assert (path / "a.bin").read_bytes() == b"new"
    checkpoint.verify(path)


def test_what_is_set_aside_is_neither_found_nor_in_the_way(tmp_path):
    for step in (1, 2, 3):
        checkpoint.write(tmp_path, step, lambda folder: (folder / "x").write_text("x"))
    checkpoint.set_aside(tmp_path, 1)
    checkpoint.set_aside(tmp_path, 1)
    assert [path.name for path in checkpoint.all_in(tmp_path)] == ["ckpt-00000001"]
    assert sorted(path.name for path in tmp_path.glob("damaged-*")) == [
        "damaged-ckpt-00000002",
        "damaged-ckpt-00000003",
    ]
