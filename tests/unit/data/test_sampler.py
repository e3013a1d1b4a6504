"""The plan of pairs: every pair once an epoch, the same order from (seed, epoch), any step without the ones before."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.data.sampler import PairPlan
from mmsearch.errors import DataError


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=60),
    st.integers(1, 16),
    st.integers(0, 5),
    st.integers(1, 4),
)
def test_an_epoch_holds_every_pair_once(groups, batch_size, seed, window):
    plan = PairPlan(np.array(groups), batch_size=batch_size, seed=seed, window=window)
    for epoch in (0, 3):
        order = plan.order(epoch)
        assert sorted(order.tolist()) == list(range(len(groups)))
    first = plan.batches_per_epoch * 3
    batches = [plan.batch(first + i).tolist() for i in range(plan.batches_per_epoch)]
    assert [pair for batch in batches for pair in batch] == plan.order(3).tolist()[
        : plan.batches_per_epoch * plan.batch_size
    ]


def test_any_step_is_the_same_without_the_steps_before():
    groups = np.arange(40) // 4
    run_through = PairPlan(groups, batch_size=8, seed=1)
    batches = [run_through.batch(step).tolist() for step in range(20)]
    for step in (19, 7, 0):
        assert PairPlan(groups, batch_size=8, seed=1).batch(step).tolist() == batches[step]


def test_seeds_and_epochs_differ():
    plan, other = (PairPlan(np.zeros(50, np.int64), batch_size=10, seed=seed) for seed in (0, 1))
    assert plan.order(0).tolist() != plan.order(1).tolist()
    assert plan.order(0).tolist() != other.order(0).tolist()


def test_a_reader_meets_each_row_group_in_one_window():
    groups = np.repeat(np.arange(20), 5)
    order = PairPlan(groups, batch_size=10, seed=0, window=4).order(0)
    for start in range(0, 100, 20):
        assert len(set(groups[order[start : start + 20]])) == 4


def test_no_pairs_is_an_error():
    with pytest.raises(DataError, match="no pair to learn from"):
        PairPlan(np.zeros(0, np.int64), batch_size=4, seed=0)
