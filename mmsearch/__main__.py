"""`python -m mmsearch VERB …` is `mmsearch VERB …`."""

from mmsearch.cli.main import main

if __name__ == "__main__":
    main()
