"""The fixed phrases of the world's people: titles, hype, speech, captions and account names."""

from __future__ import annotations

from collections.abc import Mapping

from mmsearch.demo.vocabulary import Language

Lines = Mapping[Language, tuple[str, ...]]

#: Titles that tell nothing.
VAGUE_TITLES: Lines = {
    Language.ZH: ("今天的视频", "一定要看到最后", "太好看了", "日常记录", "你们觉得怎么样", "发个视频"),
    Language.EN: ("wait for the end", "today's video", "so good", "my day", "just a video", "my video"),
}

#: Titles that tell something; `{}` is what they tell.
TITLES: Lines = {
    Language.ZH: ("{}", "{}", "快看{}", "我的{}", "今天看到{}"),
    Language.EN: ("{}", "{}", "look at the {}", "my {}", "today's {}"),
}

#: Titles of clickbait; some of them read like any other.
BAIT_TITLES: Lines = {
    Language.ZH: ("{}", "太好看了！{}", "一定要看{}", "快看{}"),
    Language.EN: ("{}", "so good! {}", "wait for the {}", "look at the {}"),
}

#: Text on covers that tells nothing.
HYPE: Lines = {
    Language.ZH: ("必看", "太好看了", "看到最后", "快看"),
    Language.EN: ("WATCH THIS", "SO GOOD", "WOW", "TOP 1"),
}

#: Accounts named after an object, and accounts that tell nothing.
THEMED_ACCOUNTS: Lines = {
    Language.ZH: ("{}小屋", "{}爱好者", "阿明的{}"),
    Language.EN: ("{} club", "{} fan", "Tom's {}"),
}
PLAIN_ACCOUNTS: Lines = {
    Language.ZH: ("小明日记", "阿花", "生活记录", "大白", "每天一个视频"),
    Language.EN: ("Tom and Amy", "my life", "user 8842", "daily video", "Big White"),
}

#: Captions drawn into the film: with the place, and without.
PLACE_CAPTIONS: Lines = {
    Language.ZH: ("{}", "定位 {}", "我在{}", "{} 第2天"),
    Language.EN: ("{}", "at {}", "I am in {}", "{} day 2"),
}
PLAIN_CAPTIONS: Lines = {
    Language.ZH: ("关注我", "10:24", "请看", "未完待续"),
    Language.EN: ("follow me", "10:24", "look", "to be continued"),
}

#: What everybody says.
SMALL_TALK: Lines = {
    Language.ZH: ("大家好，欢迎回来", "记得点赞关注", "我们今天慢慢说", "好，我们开始吧", "谢谢大家，下次见"),
    Language.EN: (
        "hello everyone and welcome back",
        "remember to like and follow",
        "today we take our time",
        "let us start",
        "thank you and see you next time",
    ),
}

#: What is said of the object, when it is named at all.
OBJECT_TALK: Lines = {
    Language.ZH: ("今天要说的是{}", "这个{}大家都喜欢"),
    Language.EN: ("today it is about the {}", "everyone likes this {}"),
}

#: What is said on a topic: the only place where most videos name it.
TOPIC_TALK: Mapping[str, Lines] = {
    "repair": {
        Language.ZH: ("坏了不要紧，我来教你维修", "先打开，再把坏的地方修好"),
        Language.EN: ("it is broken and this is the repair", "open it and fix the broken part"),
    },
    "history": {
        Language.ZH: ("它的历史很长，古代就有了", "从古代说起，说说它的由来"),
        Language.EN: ("it has a long history", "listen to the old story of it"),
    },
    "joke": {
        Language.ZH: ("给大家说个笑话，笑死我了", "这件事真的很搞笑"),
        Language.EN: ("let me tell you a joke", "this is so funny"),
    },
    "song": {
        Language.ZH: ("我来唱一首歌给你听", "听听这段音乐"),
        Language.EN: ("I sing a song for you", "listen to this music"),
    },
    "drawing": {
        Language.ZH: ("拿出纸和笔，我们一起画", "先画一个圆，简笔画很容易"),
        Language.EN: ("take a pen and draw with me", "first draw a circle, a drawing is easy"),
    },
    "price": {
        Language.ZH: ("多少钱？价格真不贵", "只要九块九，价格很好"),
        Language.EN: ("how much is it", "the price is so low"),
    },
}

#: What stands for the object where a query or title does not name it.
SOMETHING: Mapping[Language, str] = {Language.ZH: "东西", Language.EN: "things"}
