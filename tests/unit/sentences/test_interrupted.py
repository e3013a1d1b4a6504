"""Ctrl-C while a server hangs: the run ends at once."""

import signal
import socket
import threading
import time

import pytest

from mmsearch.sentences import DocumentFrequencies, KeySentenceExtractor, SentenceSettings, SpokenVideo

SPEECH = "Hello and welcome. The red panda eats bamboo. It sleeps all day in a tree. Please subscribe now."


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals go to the main thread")
def test_ctrl_c_ends_what_waits_for_a_server_that_hangs(monkeypatch):
    pytest.importorskip("httpx", exc_type=ImportError)
    videos = [SpokenVideo(f"v{number}", "red panda", SPEECH) for number in range(20)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections, and never answers
        model = {"base_url": f"http://127.0.0.1:{server.getsockname()[1]}/v1", "model": "tiny", "max_in_flight": 4}
        budget = {"max_chars": 40, "max_sentence_chars": 40, "segmenter": "bigrams"}
        wanted = SentenceSettings.model_validate(budget | {"method": "select", "model": model})
        interrupted = []

        def interrupt():
            interrupted.append(time.monotonic())
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        try:
            with KeySentenceExtractor(wanted, DocumentFrequencies.of([SPEECH], "bigrams")) as extractor:
                timer = threading.Timer(0.3, interrupt)
                timer.start()
                with pytest.raises(KeyboardInterrupt):
                    list(extractor.extract(videos))
        finally:
            timer.join()
            signal.signal(signal.SIGINT, before)
        assert time.monotonic() - interrupted[0] < 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("key-sentences")]
