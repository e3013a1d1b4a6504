"""A model that fails for a while: who waits, who asks, and when nobody does any more."""

import threading
import time

import pytest

from mmsearch.errors import ConfigError
from mmsearch.sentences.breaker import Breaker, NotAskedError
from mmsearch.sentences.models import ModelRefusedError, ModelUnavailableError


class Service:
    """Answers unless it is down; counts how many are asked at a time while it is."""

    def __init__(self):
        self.down, self.asked, self.running, self.most = False, 0, 0, 0
        self.lock, self.together = threading.Lock(), threading.Barrier(1)

    def __call__(self):
        with self.lock:
            self.asked += 1
            self.running += 1
            self.most = max(self.most, self.running)
        self.together.wait()
        time.sleep(0.002)
        with self.lock:
            self.running -= 1
        if self.down:
            raise ModelUnavailableError("down")
        return "answer"


def in_threads(number, call):
    found = []

    def work():
        try:
            found.append(call())
        except Exception as error:
            found.append(error)

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads, found


def test_an_outage_is_waited_out_by_all_and_probed_by_one():
    breaker, service = Breaker(30.0), Service()
    service.down, service.together = True, threading.Barrier(8, action=lambda: setattr(service, "together", one))
    one = threading.Barrier(1)
    threads, found = in_threads(8, lambda: breaker.call(service))
    while service.running or service.asked < 8:
        time.sleep(0.001)
    service.down = False
    for thread in threads:
        thread.join()
    assert found == ["answer"] * 8


def test_while_it_lasts_one_is_asked_at_a_time():
    breaker, service = Breaker(0.3), Service()
    service.down = True
    threads, found = in_threads(6, lambda: breaker.call(service))
    while breaker._since is None or service.running:
        time.sleep(0.001)
    service.most = 0
    for thread in threads:
        thread.join()
    assert service.most == 1
    assert all(isinstance(one, ModelUnavailableError) for one in found)


def test_after_its_time_it_fails_at_once_but_one_request_may_find_the_model_back():
    breaker, service = Breaker(0.5), Service()
    service.down = True
    while not isinstance(found := in_one(breaker, service), NotAskedError):
        assert isinstance(found, ModelUnavailableError)
    asked = service.asked
    assert isinstance(in_one(breaker, service), NotAskedError)
    assert service.asked == asked
    service.down = False
    time.sleep(0.5)
    assert in_one(breaker, service) == in_one(breaker, service) == "answer"


def in_one(breaker, service):
    try:
        return breaker.call(service)
    except ModelUnavailableError as error:
        return error


def test_many_failures_at_once_are_one_outage():
    breaker, service = Breaker(30.0), Service()
    service.down, service.together = True, threading.Barrier(20)
    threads, found = in_threads(20, lambda: breaker.call(service))
    while service.running or service.asked < 20:
        time.sleep(0.001)
    breaker.stop()
    for thread in threads:
        thread.join()
    assert service.asked == 20
    assert {type(error) for error in found} <= {NotAskedError, ModelUnavailableError}


def test_what_fails_while_others_are_answered_is_no_outage():
    breaker, calls = Breaker(3000.0), []

    def poisoned():
        calls.append(1)
        breaker.call(lambda: "others")
        raise ModelUnavailableError("HTTP 500")

    began = time.monotonic()
    with pytest.raises(ModelUnavailableError, match="500"):
        breaker.call(poisoned)
    assert len(calls) == 3
    assert time.monotonic() - began < 8  # the first pause of an outage would be 10 s


def test_refusals_from_the_start_are_a_matter_of_settings():
    def refusing():
        raise ModelRefusedError("HTTP 400; the server says: no response_format")

    breaker = Breaker(30.0)
    for _ in range(5):
        with pytest.raises(ModelRefusedError):
            breaker.call(refusing)
    with pytest.raises(ConfigError, match=r"each of the first 6 requests.*no response_format"):
        breaker.call(refusing)
    good = Breaker(30.0)
    good.call(lambda: "answer")
    for _ in range(9):
        with pytest.raises(ModelRefusedError):
            good.call(refusing)
