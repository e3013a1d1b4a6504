"""mmsearch search"""

EXAMPLES = ""


def run() -> None:
    """(placeholder; its helper writes it)"""
