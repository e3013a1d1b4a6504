"""Small charts as SVG, each 340 px wide so that its letters stay readable on a phone; wide pages put several in a row.

Colours are classes of the page's style sheet (the palette of Okabe & Ito), and nothing is told by colour alone.
"""

from mmsearch.report.charts.forest import Mark, Span, forest, span_of
from mmsearch.report.charts.lines import Line, lines
from mmsearch.report.charts.reliability import reliability
from mmsearch.report.charts.ridges import ridges
from mmsearch.report.charts.shares import Bar, shares, widest

__all__ = ["Bar", "Line", "Mark", "Span", "forest", "lines", "reliability", "ridges", "shares", "span_of", "widest"]
