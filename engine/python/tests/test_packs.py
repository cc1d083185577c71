"""Making and checking packs."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest
from conftest import VECTORS

import engram_tables
from engram_tables import errors


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_built_and_attached_packs_have_the_rows_of_the_checkpoint(checkpoint, tmp_path):
    told = []
    report = engram_tables.build(checkpoint, tmp_path / "built", progress=lambda *bytes: told.append(bytes))
    assert (report["shards"], report["shards_resumed"]) == (48, 0) and report["rows"] > 0
    done, total = told[-1]
    assert done == total == report["bytes_read"]
    assert told == sorted(told)
    engram_tables.attach(checkpoint, tmp_path / "attached")
    with engram_tables.open(tmp_path / "built") as built, engram_tables.open(tmp_path / "attached") as attached:
        tokens = [1, 2, 3, 4, 5, 4, 3, 2, 1]
        rows, same = built.rows(tokens), attached.rows(tokens)
        for layer in rows.layers:
            assert (rows[layer] == same[layer]).all()
            assert (built.lookup(layer, rows, dtype="stored") == attached.lookup(layer, rows, dtype="stored")).all()
    for pack in ("built", "attached"):
        report = engram_tables.verify(tmp_path / pack)
        assert report["damage"] == report["unread"] == [] and report["records"] > 0
    with pytest.raises(errors.PackError, match="built"):
        engram_tables.build(checkpoint, tmp_path / "built", progress=False)


@pytest.mark.parametrize("reader", ["direct", "direct_threads", "memory"])
def test_cold_packs_open_by_the_same_call(reader):
    with engram_tables.open(VECTORS / "cold" / "deepseek", reader=reader) as cold:
        with engram_tables.open(VECTORS / "deepseek") as packed:
            tokens = [1, 2, 3, 4, 5, 4, 3, 2, 1]
            rows = packed.rows(tokens)
            assert (cold.rows(tokens)[1] == rows[1]).all()
            for layer in rows.layers:
                assert (cold.lookup(layer, rows) == packed.lookup(layer, rows)).all()


def test_cold_packs_say_what_cannot_be_done_with_them(tmp_path):
    with pytest.raises(errors.ColdUnsuitedError, match="engram-pack thaw"):
        engram_tables.open(VECTORS / "cold" / "deepseek", reader="mmap")
    shutil.copytree(VECTORS / "cold" / "deepseek", tmp_path / "cold")
    shard = tmp_path / "cold" / "layer-01" / "order-2-head-0.cold"
    damaged = bytearray(shard.read_bytes())
    damaged[-1] ^= 1
    shard.write_bytes(damaged)
    with engram_tables.open(tmp_path / "cold") as store:
        with pytest.raises(errors.DamagedFrameError, match="frame 0"):
            store.lookup(1, [0])


def test_converted_packs_have_the_values_of_their_source_nearly(checkpoint, tmp_path):
    engram_tables.attach(checkpoint, tmp_path / "attached")
    told = []
    report = engram_tables.convert(
        tmp_path / "attached", tmp_path / "small", "q8_0", keep_layers=[1], progress=lambda *bytes: told.append(bytes)
    )
    done, total = told[-1]
    assert done == total == report["bytes_read"] and len(report["columns"]) == report["shards"]
    kept, converted = report["tables"]
    assert kept["relative_rmse"] == 0 and kept["from"] == kept["to"]
    assert converted["to"]["name"] == "q8_0" and 0 < converted["relative_rmse"] < 0.01
    assert engram_tables.verify(tmp_path / "small", progress=False)["damage"] == []
    with engram_tables.open(tmp_path / "attached") as old, engram_tables.open(tmp_path / "small") as new:
        rows = old.rows([1, 2, 3, 4, 5])
        layer = converted["layer"]
        before, now = old.lookup(layer, rows), new.lookup(layer, rows)
        assert 0 < abs(before - now).max() < 0.01 * abs(before).max()
    whole = content(tmp_path / "small")
    again = engram_tables.convert(tmp_path / "attached", tmp_path / "small", "q8_0", keep_layers=[1], resume=True)
    assert again["shards_resumed"] == report["shards"] and content(tmp_path / "small") == whole
    for codec, said in (("q3", "known are f32"), ("q4_k:group=4", "expected none")):
        with pytest.raises(errors.PackError, match=said):
            engram_tables.convert(tmp_path / "attached", tmp_path / "other", codec)
    assert not (tmp_path / "other").exists()


def test_tables_without_a_model_are_packed_by_a_scheme(checkpoint, tmp_path):
    tables = tmp_path / "tables"
    shutil.copytree(checkpoint, tables)
    configuration = tmp_path / "config.json"
    (tables / "config.json").rename(configuration)
    with pytest.raises(errors.PackError, match="config.json"):
        engram_tables.attach(tables, tmp_path / "attached")
    engram_tables.attach(tables, tmp_path / "attached", scheme=configuration)
    engram_tables.build(tables, tmp_path / "built", scheme=configuration, progress=False)
    engram_tables.build(checkpoint, tmp_path / "whole", progress=False)
    assert content(tmp_path / "built") == content(tmp_path / "whole")
    with engram_tables.open(tmp_path / "attached") as attached, engram_tables.open(tmp_path / "built") as built:
        rows = built.rows([1, 2, 3])
        for layer in rows.layers:
            assert (attached.lookup(layer, rows) == built.lookup(layer, rows)).all()


def test_what_cannot_be_built_says_why(tmp_path):
    with pytest.raises(errors.PackError):
        engram_tables.build(tmp_path, tmp_path / "pack")
    with pytest.raises(errors.PackError):
        engram_tables.attach(tmp_path, tmp_path / "pack")
    with pytest.raises(errors.PackError):
        engram_tables.verify(tmp_path)
    with pytest.raises(errors.PackError):
        engram_tables.verify(VECTORS / "deepseek", sample=200)
    assert list(tmp_path.iterdir()) == []


def test_an_exception_of_progress_ends_the_build_and_it_resumes(checkpoint, tmp_path):
    class Enough(Exception):
        pass

    def progress(done, total):
        if done < total:
            raise Enough

    pack = tmp_path / "pack"
    # A build may be done before its progress is told, or while the exception is on its way.
    for _ in range(100):
        try:
            engram_tables.build(checkpoint, pack, jobs=1, progress=progress)
        except Enough:
            if not (pack / "manifest.json").exists():
                break
        shutil.rmtree(pack)
    else:
        pytest.fail("no build was ended")
    with pytest.raises(errors.NotAPackError):
        engram_tables.open(pack)
    engram_tables.build(checkpoint, pack, resume=True, progress=False)
    engram_tables.build(checkpoint, tmp_path / "whole", progress=False)
    assert content(pack) == content(tmp_path / "whole")


BUILD = """
    import shutil, sys
    import engram_tables

    checkpoint, pack = sys.argv[1:]
    try:
        while True:
            engram_tables.build(checkpoint, pack, jobs=1, progress=lambda done, total: print("begun", flush=True))
            shutil.rmtree(pack)
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_ctrl_c_ends_a_build_and_it_resumes(checkpoint, tmp_path):
    pack = tmp_path / "pack"
    command = [sys.executable, "-c", textwrap.dedent(BUILD), checkpoint, pack]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        os.kill(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=120)
        assert said.endswith("interrupted\n")
    assert process.returncode == 0
    if pack.exists() and not (pack / "manifest.json").exists():
        engram_tables.build(checkpoint, pack, resume=True, progress=False)
        engram_tables.build(checkpoint, tmp_path / "whole", progress=False)
        assert content(pack) == content(tmp_path / "whole")


def test_a_bar_is_shown_where_tqdm_is(checkpoint, tmp_path, capsys, monkeypatch):
    pytest.importorskip("tqdm", reason="progress bars need tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    engram_tables.build(checkpoint, tmp_path / "pack")
    assert "packing" in capsys.readouterr().err
