"""mmsearch score"""

EXAMPLES = ""


def run() -> None:
    """(placeholder; its helper writes it)"""
