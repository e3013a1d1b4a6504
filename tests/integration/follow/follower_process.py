"""A follower with the foretold encoder: `follower_process.py INDEX SOURCE [KEY=VALUE]...`."""

import runpy
import sys
from pathlib import Path

from mmsearch import logs
from mmsearch.config import load_arguments
from serving.follow.recipe import Recipe
from serving.follow.run import follow_with
from serving.follow.settings import FollowSettings

if __name__ == "__main__":
    given = runpy.run_path(str(Path(__file__).with_name("conftest.py")))
    logs.set_up()
    index, source, *settings = sys.argv[1:]
    recipe = Recipe(given["PREPARE"], Path(index), None)
    chosen = load_arguments(FollowSettings, settings)
    logs.exit_on_error(lambda: print(follow_with(given["Encoder"](), Path(index), source, recipe, chosen)))
