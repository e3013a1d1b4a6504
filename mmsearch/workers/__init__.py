"""Supervised worker processes: one bad item costs that item, never the queue.

A `concurrent.futures.ProcessPoolExecutor` is broken for good by one segfault, cannot end a hanging task, and sets no
memory limit. `Pool` does these three things, and nothing else.
"""

from mmsearch.workers.child import beat
from mmsearch.workers.pool import Pool
from mmsearch.workers.task import Failure, Outcome

__all__ = ["Failure", "Outcome", "Pool", "beat"]
