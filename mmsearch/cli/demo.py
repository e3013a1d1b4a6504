"""mmsearch demo"""

EXAMPLES = ""


def run() -> None:
    """(placeholder; its helper writes it)"""
