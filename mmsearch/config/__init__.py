"""Typed settings from YAML."""

from mmsearch.config.base import Settings
from mmsearch.config.loader import load_arguments, load_settings

__all__ = ["Settings", "load_arguments", "load_settings"]
