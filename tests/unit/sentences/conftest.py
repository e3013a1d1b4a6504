"""Models that answer by a rule."""

import threading

import pytest

from mmsearch.sentences.models import Completion, Likelihood


class StubModel:
    """Answers with `answer(prompt)` and `likelihood(prefix, text)`, and remembers what was asked."""

    def __init__(self, answer=None, likelihood=None, name="stub", concurrency=1):
        self.answer, self.likelihood, self.name, self.concurrency = answer, likelihood, name, concurrency
        self.prompts, self.prefixes, self.closed = [], [], False
        self.lock, self.running, self.most = threading.Lock(), 0, 0

    def complete(self, prompt, *, max_tokens, schema=None):
        with self.lock:
            self.prompts.append(prompt)
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            return Completion(self.answer(prompt), len(prompt.user), 7)
        finally:
            with self.lock:
                self.running -= 1

    def log_probabilities(self, prefixes, text):
        self.prefixes += prefixes
        return [Likelihood(self.likelihood(prefix, text), 5) for prefix in prefixes]

    def close(self):
        self.closed = True


@pytest.fixture
def stub_model():
    return StubModel
