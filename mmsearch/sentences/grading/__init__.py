"""Grade key sentences: a blinded sheet of two methods, a page for people, and an automatic proxy."""

from mmsearch.sentences.grading.answers import CUT, Answer, answers_of
from mmsearch.sentences.grading.build import Contender, Plan, build_sheet, contenders
from mmsearch.sentences.grading.grades import GRADES, GradeFile
from mmsearch.sentences.grading.page import render
from mmsearch.sentences.grading.proxy import Proxy
from mmsearch.sentences.grading.sample import Balance, Sample, draw
from mmsearch.sentences.grading.server import GradingServer
from mmsearch.sentences.grading.sheet import SIDES, Item, Sheet, Side, load_sheet, make_sheet, save_sheet

__all__ = [
    "CUT",
    "GRADES",
    "SIDES",
    "Answer",
    "Balance",
    "Contender",
    "GradeFile",
    "GradingServer",
    "Item",
    "Plan",
    "Proxy",
    "Sample",
    "Sheet",
    "Side",
    "answers_of",
    "build_sheet",
    "contenders",
    "draw",
    "load_sheet",
    "make_sheet",
    "render",
    "save_sheet",
]
