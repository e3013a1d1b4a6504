"""What a video of the world can be about, and the words for it in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Language(StrEnum):
    """The languages of titles, speech, drawn text and queries."""

    ZH = "zh"
    EN = "en"


class Attribute(StrEnum):
    """The six latent attributes of a video. The first four can be seen, TOPIC is spoken, PLACE is written."""

    OBJECT = "object"
    COLOUR = "colour"
    MOTION = "motion"
    SCENE = "scene"
    TOPIC = "topic"
    PLACE = "place"


#: What a text or picture tells: attribute -> value, such as {OBJECT: "ball"}. Attributes it does not tell are absent.
Meaning = Mapping[Attribute, str]


@dataclass(frozen=True, slots=True)
class Words:
    """The synonyms of a value; the first one is the usual one. Topics are phrases with a place `{}` for the rest."""

    zh: tuple[str, ...]
    en: tuple[str, ...]

    def of(self, language: Language) -> tuple[str, ...]:
        """Give the synonyms in a language."""
        return self.zh if language is Language.ZH else self.en


VOCABULARY: Mapping[Attribute, Mapping[str, Words]] = {
    Attribute.OBJECT: {
        "ball": Words(("皮球", "小球"), ("ball", "toy ball")),
        "car": Words(("汽车", "小车"), ("car", "auto")),
        "fish": Words(("鱼", "小鱼"), ("fish", "little fish")),
        "kite": Words(("风筝", "纸鸢"), ("kite", "paper kite")),
        "umbrella": Words(("雨伞", "伞"), ("umbrella", "parasol")),
        "rocket": Words(("火箭", "飞船"), ("rocket", "spaceship")),
        "cup": Words(("杯子", "茶杯"), ("cup", "mug")),
        "robot": Words(("机器人", "小机器人"), ("robot", "little robot")),
    },
    Attribute.COLOUR: {
        "red": Words(("红色", "红"), ("red", "crimson")),
        "yellow": Words(("黄色", "金黄"), ("yellow", "golden")),
        "green": Words(("绿色", "翠绿"), ("green", "emerald")),
        "blue": Words(("蓝色", "蓝"), ("blue", "azure")),
        "purple": Words(("紫色", "紫"), ("purple", "violet")),
        "pink": Words(("粉色", "粉红"), ("pink", "rosy")),
    },
    Attribute.MOTION: {
        "bounce": Words(("弹跳", "蹦跳"), ("bouncing", "jumping")),
        "spin": Words(("旋转", "转圈"), ("spinning", "turning around")),
        "cross": Words(("飞驰", "冲过"), ("racing past", "rushing by")),
        "grow": Words(("变大", "靠近"), ("growing", "getting bigger")),
        "shine": Words(("发光", "闪亮"), ("shining", "glowing")),
    },
    Attribute.SCENE: {
        "beach": Words(("沙滩上", "海边"), ("on the beach", "by the sea")),
        "snow": Words(("雪山下", "雪地里"), ("in the snow", "on the snowy mountain")),
        "forest": Words(("森林里", "树林中"), ("in the forest", "in the woods")),
        "city": Words(("城市里", "高楼间"), ("in the city", "among the towers")),
        "kitchen": Words(("厨房里", "灶台边"), ("in the kitchen", "at the stove")),
        "space": Words(("星空中", "太空里"), ("in space", "among the stars")),
    },
    Attribute.TOPIC: {
        "repair": Words(("{}维修", "怎么修{}"), ("repair of {}", "how to fix {}")),
        "history": Words(("{}的历史", "{}的由来"), ("history of {}", "story of {}")),
        "joke": Words(("{}的笑话", "搞笑{}"), ("joke about {}", "funny {}")),
        "song": Words(("{}的歌", "{}音乐"), ("song about {}", "music for {}")),
        "drawing": Words(("怎么画{}", "{}简笔画"), ("how to draw {}", "drawing of {}")),
        "price": Words(("{}的价格", "{}多少钱"), ("price of {}", "how much is {}")),
    },
    Attribute.PLACE: {
        "beijing": Words(("北京",), ("Beijing",)),
        "shanghai": Words(("上海",), ("Shanghai",)),
        "chengdu": Words(("成都",), ("Chengdu",)),
        "xian": Words(("西安",), ("Xian",)),
        "guangzhou": Words(("广州",), ("Guangzhou",)),
        "harbin": Words(("哈尔滨",), ("Harbin",)),
    },
}


def values(attribute: Attribute) -> tuple[str, ...]:
    """Give the values of an attribute."""
    return tuple(VOCABULARY[attribute])


def words(attribute: Attribute, value: str, language: Language) -> tuple[str, ...]:
    """Give the synonyms of a value."""
    return VOCABULARY[attribute][value].of(language)
