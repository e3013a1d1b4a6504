"""Text in pictures: a reader behind one protocol, boxes put in reading order, and the texts of many frames merged."""

from mmsearch.recognition.ocr.by_rapidocr import RapidOcrReader
from mmsearch.recognition.ocr.pictures import PictureText, spread
from mmsearch.recognition.ocr.settings import OcrSettings

__all__ = ["OcrSettings", "PictureText", "RapidOcrReader", "spread"]
