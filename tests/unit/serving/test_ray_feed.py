"""How items come to tickets: each to one, the same again to a ticket that asks again, none when there are none."""

from __future__ import annotations

import asyncio

from serving.executors.ray_actors import Feed
from serving.work_item import WorkItem

ITEMS = [WorkItem(f"k{n}", (n,)) for n in range(3)]


def test_tickets_in_any_order_get_each_item_once_and_the_same_again():
    async def play():
        feed = Feed()
        early = asyncio.create_task(feed.take(7))
        await asyncio.sleep(0)
        assert not early.done(), "it waits for an item"
        for item in ITEMS:
            await feed.put(item)
        got = {7: await early, 2: await feed.take(2), 0: await feed.take(0)}
        assert sorted(item.key for item in got.values()) == ["k0", "k1", "k2"]
        assert await feed.take(2) is got[2], "an actor that died asks again"
        late = asyncio.create_task(feed.take(1))
        await asyncio.sleep(0)
        await feed.close()
        assert await late is None
        assert await feed.take(9) is None
        assert await feed.take(0) is got[0]
        await feed.forget(0)
        assert await feed.take(0) is None

    asyncio.run(asyncio.wait_for(play(), 20))
