"""Reports: one page that says how well a model ranks, why, and where the numbers come from."""

from mmsearch.report.facts import Facts, Sources, gather
from mmsearch.report.page import render
from mmsearch.report.plain import as_json
from mmsearch.report.settings import ReportSettings

__all__ = ["Facts", "ReportSettings", "Sources", "as_json", "gather", "render"]
