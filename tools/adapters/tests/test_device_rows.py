"""Rows for row ids that lie on a GPU. They skip without one; `benches/gpu_engines.sh` runs them where there is one."""

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("there is no GPU", allow_module_level=True)

import engram_tables
import tiny_checkpoint
from engram_adapters.device_rows import DeviceRows


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = tiny_checkpoint.make(tmp_path_factory.mktemp("qwen"), "qwen3.8-flash-next")
    return engram_tables.open(made.pack)


def ids_of(count, seed, dtype=torch.int64):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 16_000, (count, 16), generator=generator)
    ids[0, 3] = -1
    return ids.to(dtype)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32, torch.uint8])
def test_rows_come_to_the_gpu(store, dtype, kind):
    rows = DeviceRows(store, 1)
    # Memory that was made for more is used for fewer, and the other way round.
    for count in (3, 200, 1, 700):
        ids = ids_of(count, count, dtype)
        expected = torch.full((count, 16, 160), 7, dtype=kind)
        store.lookup(1, ids, out=expected, dtype="stored" if kind == torch.uint8 else kind)
        found = torch.full_like(expected, 7, device="cuda")
        rows.read(ids.cuda(), found)
        assert torch.equal(found.cpu(), expected) and expected.any()


def test_a_stream_waits_for_ids_that_are_still_computed(store):
    rows, stream = DeviceRows(store, 1), torch.cuda.Stream()
    ids = ids_of(64, 5)
    expected = torch.empty(64, 16, 160)
    store.lookup(1, ids, out=expected)
    found = torch.empty_like(expected, device="cuda")
    with torch.cuda.stream(stream):
        late = torch.zeros_like(ids, device="cuda")
        # Half a second of the GPU's time before the ids are there.
        torch.cuda._sleep(1_000_000_000)
        late.copy_(ids.cuda(), non_blocking=True)
        rows.read(late, found)
        doubled = found * 2
    torch.cuda.current_stream().wait_stream(stream)
    assert torch.equal(doubled.cpu(), expected * 2)


def test_many_steps_do_not_overwrite_rows_on_their_way(store):
    rows = DeviceRows(store, 1)
    steps = [ids_of(256, seed) for seed in range(20)]
    found = [torch.empty(256, 16, 160, device="cuda") for _ in steps]
    for ids, out in zip(steps, found):
        rows.read(ids.cuda(), out)
    for ids, out in zip(steps, found):
        expected = torch.empty(256, 16, 160)
        store.lookup(1, ids, out=expected)
        assert torch.equal(out.cpu(), expected)


def test_a_captured_graph_is_refused(store):
    rows = DeviceRows(store, 1)
    ids, out = ids_of(4, 1).cuda(), torch.empty(4, 16, 160, device="cuda")
    rows.read(ids, out)
    with pytest.raises(RuntimeError, match="cannot be read inside a captured CUDA graph"):
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            rows.read(ids, out)
