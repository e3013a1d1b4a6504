"""Positions and last changes, against the naive list of everything that was read."""

import random

from serving.follow.ledger import Ledger
from serving.follow.pace import Pace
from serving.follow.stream import Entry


def entry(number):
    return Entry({"id": number}, f"line {number}", {}, float(number), (number,), 10)


def test_the_position_follows_the_first_unsettled_entry_whatever_the_order():
    for seed in range(20):
        chance = random.Random(seed)
        ledger, tickets, open_ = Ledger(), [], []
        ledger.restart({"id": -1})
        for number in range(200):
            doc_id = chance.choice("abcde") if chance.random() < 0.9 else None
            tickets.append(ledger.take(entry(number), doc_id, 0.0))
            open_.append(number)
            while open_ and chance.random() < 0.5:
                done = open_.pop(chance.randrange(len(open_)))
                ledger.settle(tickets[done])
            first = min(open_, default=number + 1)
            assert ledger.position == {"id": first - 1}
            assert len(ledger) == number + 1 - first
            assert ledger.num_bytes == 10 * len(ledger)
            assert ledger.oldest_arrived == (float(first) if open_ else None)
            last = {ticket.doc_id: ticket for ticket in tickets}
            for number in open_:
                ticket = tickets[number]
                assert ledger.counts(ticket) == (ticket.doc_id is not None and last[ticket.doc_id] is ticket)


def test_what_was_on_its_way_before_a_restart_does_not_count_after_it():
    ledger = Ledger()
    before = ledger.take(entry(1), "a", 0.0)
    ledger.restart({"id": 0})
    assert not ledger.counts(before)
    ledger.settle(before)
    assert ledger.position == {"id": 0}
    again = ledger.take(entry(1), "a", 1.0)
    assert ledger.counts(again)
    assert not ledger.counts(before)


def test_changes_are_collected_within_the_delay_and_deletes_never_wait():
    pace = Pace(10.0)
    assert pace.wait_s(100.0, None, has_deletes=False) is None
    assert pace.wait_s(100.0, 100.0, has_deletes=False) == 6.0
    assert pace.wait_s(104.0, 100.0, has_deletes=False) == 2.0
    assert pace.wait_s(109.0, 100.0, has_deletes=False) == 0.0
    assert pace.wait_s(100.0, 100.0, has_deletes=True) == 0.0


def test_what_publishing_takes_is_set_apart():
    pace = Pace(10.0)
    pace.took(2.0)
    assert pace.wait_s(100.0, 100.0, has_deletes=False) == 4.0
    pace.took(1.0)
    assert 4.0 < pace.wait_s(100.0, 100.0, has_deletes=False) < 5.0, "a slow one is forgotten slowly"
    pace.took(30.0)
    assert pace.wait_s(100.0, 100.0, has_deletes=False) == 0.0
