"""Words that say how, not what: they lead to no sentence, however rare a corpus of several languages makes them."""

from __future__ import annotations

_ENGLISH = (
    "a about after all also am an and any are as at be because been before being but by can could did do does doing "
    "down for from get go had has have he her here hers him his how i if in into is it its it's just let's like me my "
    "no not now of on or our out over own she should so some such than that that's the their them then there these "
    "they this those to too under up us very was we were what when where which while who why will with would yes you "
    "your"
)
_CHINESE = (
    "的 了 是 在 和 与 及 或 也 都 就 还 又 很 更 最 不 没 没有 有 我 你 您 他 她 "
    "它 我们 你们 他们 它们 这 那 这个 那个 这些 那些 这里 那里 什么 怎么 如何 为什么 哪 "
    "哪里 谁 吗 呢 吧 啊 呀 嗯 哦 把 被 让 给 对 从 到 向 往 为 为了 因为 所以 但 "
    "但是 而 而且 如果 然后 就是 一个 一 一些 一下 个 们 地 得 着 过 上 下 里 中 之 其 "
    "会 能 可以 要 想 说 去 来 做 好 好的 大家 现在 今天"
)
#: English, and Chinese as jieba segments it.
FUNCTION_WORDS = frozenset(f"{_ENGLISH} {_CHINESE}".split())
