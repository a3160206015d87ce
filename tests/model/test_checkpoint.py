import re
import shutil

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


IN_THE_WAY = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "ckpt", "ckpt-", "damaged-", "Ckpt-", "ckpt-0000"]),
    st.sampled_from(["", "0", "00000020", "00000030", "0000000000030", "00000040", "-0000001", "٠٠٠٠٠٠٤٠"]),
    st.sampled_from(["", " (copy)", ".zip", ".bak", ".tmp.bak", "~", "-attempt-2", ".json", " "]),
).filter(
    lambda name: name.strip() == name and re.fullmatch(r"(damaged-)?ckpt-\d{8}|", name, re.ASCII) is None
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(IN_THE_WAY, st.sampled_from(["a copy", "a file", "an empty folder"]), max_size=4))
def test_copies_archives_and_notes_beside_the_checkpoints_are_neither_read_nor_touched(
    tmp_path_factory, mine
):
    folder = tmp_path_factory.mktemp("trial")
    for step in (10, 20, 30):
        checkpoint.write(folder, step, fill(b"x"))
    for name, kind in mine.items():
        if kind == "a copy":
            shutil.copytree(folder / "ckpt-00000030", folder / name)
        elif kind == "a file":
            (folder / name).write_text("mine")
        else:
            (folder / name).mkdir()
    before = {name: sorted((folder / name).glob("*")) for name in mine}
    assert [checkpoint.step_of(path) for path in checkpoint.all_in(folder)] == [10, 20, 30]
    assert checkpoint.newest(folder, pytest.fail) == folder / "ckpt-00000030"
    checkpoint.write(folder, 40, fill(b"x"))
    checkpoint.keep(folder, 1, also={20})
    checkpoint.set_aside(folder, 20)
    assert {name: sorted((folder / name).glob("*")) for name in mine} == before
    ours = {"ckpt-00000020", "damaged-ckpt-00000040"}
    assert {path.name for path in folder.iterdir()} == ours | mine.keys()


def test_a_checkpoint_that_somebody_moved_and_linked_to_is_read_and_never_removed(tmp_path):
    trial, elsewhere = tmp_path / "trial", tmp_path / "elsewhere"
    trial.mkdir()
    checkpoint.write(trial, 10, fill(b"x")).rename(elsewhere)
    (trial / "ckpt-00000010").symlink_to(elsewhere)
    assert checkpoint.newest(trial, pytest.fail) == trial / "ckpt-00000010"
    checkpoint.write(trial, 20, fill(b"x"))
    checkpoint.keep(trial, 1, also=())
    checkpoint.verify(trial / "ckpt-00000010")
    checkpoint.write(trial, 10, fill(b"again"))
    assert not (trial / "ckpt-00000010").is_symlink()
    assert (elsewhere / "a.bin").read_bytes() == b"x"


def test_checkpoints_stand_by_their_step_however_many_digits_it_has(tmp_path):
    for step in (100_000_000, 99_999_999):
        checkpoint.write(tmp_path, step, fill(b"x"))
    assert checkpoint.newest(tmp_path, pytest.fail) == checkpoint.at(tmp_path, 100_000_000)
