"""Tensors of PyTorch: their memory is used, not copied."""

import pytest
from conftest import VECTORS

import engram_tables
from engram_tables import errors

torch = pytest.importorskip("torch", reason="tensors need PyTorch")


@pytest.fixture(params=["direct", "memory"])
def store(request):
    with engram_tables.open(VECTORS / "deepseek", reader=request.param) as store:
        yield store


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rows_go_right_to_a_tensor(store, dtype):
    ids = torch.tensor([[3, 1, -1], [5, 5, 119]])
    expected = torch.from_numpy(store.lookup(1, ids.numpy())).to(dtype)
    out = torch.full((2, 3, 64), 7, dtype=dtype)
    address = out.data_ptr()
    for ask in (store.lookup, lambda *args, **kwargs: store.submit(*args, **kwargs).wait()):
        out.fill_(7)
        assert ask(1, ids, out=out) is out
        assert torch.equal(out, expected) and out.data_ptr() == address
    around = torch.full((2, 3, 100), 7, dtype=dtype)
    store.lookup(1, ids.int(), out=around[..., 20:84], dtype=dtype)
    assert torch.equal(around[..., 20:84], expected)
    assert (around[..., :20] == 7).all() and (around[..., 84:] == 7).all()


def test_stored_rows_go_to_bytes(store):
    out = torch.empty((2, 66), dtype=torch.uint8)
    store.lookup(1, torch.tensor([3, 1], dtype=torch.int32), out=out)
    assert out.numpy().tobytes() == store.lookup(1, [3, 1], dtype="stored").tobytes()


def test_tokens_are_tensors(store):
    tokens = torch.tensor([0, 3, -1, 15])
    assert (store.rows(tokens)[1] == store.rows(tokens.tolist())[1]).all()


def test_tensors_that_will_not_do_are_refused(store):
    for out, error in [
        (torch.empty((2, 64), dtype=torch.float64), errors.ArgumentTypeError),
        (torch.empty((2, 63)), errors.BadArgumentError),
        (torch.empty((64, 2)).T, errors.BadArgumentError),
        (torch.empty((1, 64)).expand(2, 64), errors.BadArgumentError),
        (torch.empty((2, 64), device="meta"), Exception),
        (torch.empty((2, 64), requires_grad=True), Exception),
    ]:
        with pytest.raises(error):
            store.lookup(1, [3, 1], out=out)
    with pytest.raises(errors.ArgumentTypeError):
        store.lookup(1, torch.tensor([1.5]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs CUDA")
def test_pinned_memory_is_taken(store):
    out = torch.empty((2, 64)).pin_memory()
    store.lookup(1, [3, 1], out=out)
    assert out.is_pinned() and torch.equal(out, torch.from_numpy(store.lookup(1, [3, 1])))


class Rows(torch.utils.data.Dataset):
    """What a training loop has: the rows of each position of a text."""

    def __init__(self, store, tokens):
        self.store, self.tokens = store, tokens

    def __len__(self):
        return len(self.tokens) // 4

    def __getitem__(self, index):
        return self.store.lookup(1, self.store.rows(self.tokens[4 * index : 4 * index + 4]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_data_loaders_with_workers_get_the_rows(store, method):
    data = Rows(store, list(range(32)))
    loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context=method)
    expected = [data[index] for index in range(len(data))]
    got = torch.cat(list(loader)).numpy()
    assert (got == expected).all()
