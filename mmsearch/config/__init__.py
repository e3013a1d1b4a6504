"""Typed settings from YAML."""

from mmsearch.config.base import Settings, by_type
from mmsearch.config.loader import load_arguments, load_settings

__all__ = ["Settings", "by_type", "load_arguments", "load_settings"]
