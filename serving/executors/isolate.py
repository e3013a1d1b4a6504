"""Find the videos that break embedding: which tasks to run next, from what became of the last.

An item that fails twice is cut into halves, and failing halves again, until the bad videos stand alone. What is learnt
of a piece is only whether it can be embedded; in the end the item is embedded anew without the bad ones. So its bytes
depend on which videos are bad, and on nothing that happened on the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mmsearch.errors import MmsearchError
from serving.work_item import Done, Reason, WorkItem

#: So many single videos of an item fail, one after another, and no piece of it succeeded: no video is to blame.
_HOPELESS = 16
_MAX_COMMITS = 6


@dataclass(frozen=True, slots=True)
class Task:
    """A call of a worker: embed an item and commit it, or only try some of its videos.

    Args:
        item: what to embed.
        left_out: places that were found bad.
        places: the places to try; None = embed all but `left_out`, and commit.
    """

    item: WorkItem
    left_out: tuple[tuple[int, Reason, str], ...] = ()
    places: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """How a task failed."""

    reason: Reason
    detail: str


@dataclass(slots=True)
class _Case:
    """An item that failed: what was found out, and how much is still being tried."""

    bad: dict[int, Failed] = field(default_factory=dict)
    failures: dict[tuple[int, ...] | None, int] = field(default_factory=dict)
    open_pieces: int = 0
    any_piece_good: bool = False


class Isolation:
    """Gives tasks and hears of their outcomes; one at a time, from one thread.

    Args:
        items: read one by one, as tasks are asked for.
    """

    def __init__(self, items: Iterable[WorkItem]) -> None:
        self._items = iter(items)
        self._next: deque[Task] = deque()
        self._cases: dict[str, _Case] = {}

    @property
    def has_more(self) -> bool:
        """Whether outcomes brought new tasks that were not asked for yet."""
        return bool(self._next)

    def tasks(self) -> Iterator[Task]:
        """Give tasks: those that outcomes brought before new items. Ends when there are none now; ask again later."""
        while True:
            if self._next:
                yield self._next.popleft()
                continue
            item = next(self._items, None)
            if item is None:
                return
            yield Task(item)

    def succeeded(self, task: Task, done: Done | None) -> Done | None:
        """Hear that a task succeeded; give the finished item, if it is one."""
        if task.places is None:
            self._cases.pop(task.item.key, None)
            return done
        case = self._cases[task.item.key]
        case.any_piece_good = True
        self._close_piece(task, case)
        return None

    def failed(self, task: Task, failure: Failed) -> None:
        """Hear that a task failed.

        Raises:
            MmsearchError: no video is to blame: an item fails of which every video alone succeeds, or every video.
        """
        case = self._cases.setdefault(task.item.key, _Case())
        count = case.failures[task.places] = case.failures.get(task.places, 0) + 1
        again = failure.reason is not Reason.RAISED and count < 2  # an exception would come again
        if task.places is None:
            self._item_failed(task, case, failure, count, again)
        elif len(task.places) > 1:
            self._halve(task.item, task.places, case)
            self._close_piece(task, case)
        elif again:
            self._next.appendleft(task)
        else:
            case.bad[task.places[0]] = failure
            if len(case.bad) >= _HOPELESS and not case.any_piece_good:
                raise MmsearchError(
                    f"each of {len(case.bad)} videos fails alone ({failure.reason}: {failure.detail}): "
                    "the model or this machine fails, not a video; nothing was published"
                )
            self._close_piece(task, case)

    def _item_failed(self, task: Task, case: _Case, failure: Failed, count: int, again: bool) -> None:
        if again:
            self._next.appendleft(task)
        elif not task.left_out and count <= 2:
            places = tuple(range(len(task.item.rows)))
            if len(places) == 1:
                case.bad[0] = failure
                self._commit(task.item, case)
            else:
                self._halve(task.item, places, case)
        elif count <= _MAX_COMMITS:  # workers may be killed while this goes on
            self._next.appendleft(task)
        else:
            raise MmsearchError(
                f"{len(task.item.rows)} videos fail together ({failure.reason}: {failure.detail}), and none of them "
                "alone: lower batch_size, or raise executor.max_memory_bytes or executor.timeout_s"
            )

    def _halve(self, item: WorkItem, places: tuple[int, ...], case: _Case) -> None:
        half = len(places) // 2
        case.open_pieces += 2
        # depth first: whether everything fails is known after a few steps
        self._next.extendleft([Task(item, places=places[half:]), Task(item, places=places[:half])])

    def _close_piece(self, task: Task, case: _Case) -> None:
        case.open_pieces -= 1
        if case.open_pieces == 0:
            self._commit(task.item, case)

    def _commit(self, item: WorkItem, case: _Case) -> None:
        left_out = tuple((place, bad.reason, bad.detail) for place, bad in sorted(case.bad.items()))
        self._next.appendleft(Task(item, left_out))
