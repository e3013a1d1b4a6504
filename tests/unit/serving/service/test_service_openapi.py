"""What OpenAPI says of the service holds: schemathesis asks what the schema allows, and what it does not."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode


def ask(operation, mode, num):
    """Ask one operation; False where no request of this kind can be made of its schema."""
    asked = []

    @settings(max_examples=num, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        asked.append(case)
        case.call_and_validate()

    try:
        check()
    except Unsatisfiable:
        return False
    return bool(asked)


@pytest.mark.parametrize("num", [5, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_schemathesis_finds_nothing(client, mode, num):
    service = client(deadline_ms=60_000, max_doc_ids=50, allowed_hosts=["testserver"])
    schema = schemathesis.openapi.from_asgi("/openapi.json", service.app)
    operations = [found.ok() for found in schema.get_all_operations()]
    asked = {f"{operation.method} {operation.path}" for operation in operations if ask(operation, mode, num)}
    expected = {"post /v1/score", "post /v1/search", "get /v1/search", "post /v1/explain"}
    expected |= {"get /v1/videos/{doc_id}/cover"}
    if mode is GenerationMode.POSITIVE:
        expected |= {"get /v1/features", "get /healthz", "get /readyz", "get /metrics"}
    assert asked >= expected
