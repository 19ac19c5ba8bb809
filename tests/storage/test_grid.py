"""How large blocks are follows from the data and from what calls cost, and from nothing else."""

from hypothesis import given
from hypothesis import strategies as some

from terp.storage.grid import PAYING, TILE_BYTES, TOGETHER_BYTES, Weight, choose_blocks, choose_tile

MIB = 1 << 20


@given(some.integers(1, 10**7), some.floats(8, 4096), some.integers(1, 256))
def test_calls_that_cost_much_whatever_they_get_are_given_much(rows: int, row: float, overhead: int) -> None:
    weight = Weight(row, 0, overhead * MIB)
    [(_, block)] = choose_blocks({"row": rows}, ("row",), weight, {}).values()
    worth = min(PAYING * weight.call, TOGETHER_BYTES)
    count = -(-rows // block)
    assert row * (block + 1) >= min(worth, row * rows / 2)
    assert count == 1 or row * (block + 1) >= min(weight.call, TOGETHER_BYTES)
    assert rows - (count - 1) * block > block - count, "the last block is about as long as the others"


def test_few_data_are_halved_rather_than_left_to_one_worker_unless_that_were_mostly_overhead() -> None:
    weight = Weight(1024, 0, 32 * MIB)
    assert choose_blocks({"row": 1 << 18}, ("row",), weight, {}) == {"row": (1 << 18, 1 << 17)}
    assert choose_blocks({"row": 1 << 15}, ("row",), weight, {}) == {"row": (1 << 15, 1 << 15)}


def test_lengths_that_were_said_stay() -> None:
    assert choose_blocks({"row": 1000}, ("row",), Weight(1024, 0, 32 * MIB), {"row": 10}) == {"row": (1000, 10)}


def test_a_chunk_that_is_worth_a_call_is_worked_on_alone() -> None:
    assert choose_tile({"row": (1 << 14, 1 << 12)}, {"row": 1 << 8}, Weight(8192, 0)) == {"row": 1 << 8}


def test_small_chunks_are_worked_on_together() -> None:
    assert choose_tile({"row": (1 << 14, 1 << 12)}, {"row": 1 << 4}, Weight(8192, 0)) == {"row": TILE_BYTES // 8192}


def test_what_each_call_gets_anew_does_not_outweigh_the_chunk_that_it_gets() -> None:
    blocks, chunks = {"row": (1 << 14, 1 << 12)}, {"row": 1 << 8}
    assert choose_tile(blocks, chunks, Weight(8192, 6 * MIB)) == {"row": 5 << 8}
    assert choose_tile(blocks, chunks, Weight(8192, TILE_BYTES)) == {}


@given(some.integers(1, 10**5), some.integers(1, 5000), some.floats(8, 1 << 20))
def test_with_a_halo_nothing_is_read_more_than_twice_and_more_is_cut_elsewhere(
    days: int, halo: int, row: float
) -> None:
    sizes = {"day": days, "place": 1 << 20}
    (_, narrow), (_, many) = choose_blocks(sizes, ("day", "place"), Weight(row, 0), {}).values()
    (_, wide), (_, few) = choose_blocks(sizes, ("day", "place"), Weight(row, 0), {}, {"day": halo}).values()
    assert wide >= min(2 * halo, days)
    assert wide >= narrow
    assert few <= many
