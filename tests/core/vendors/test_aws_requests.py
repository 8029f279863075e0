"""botocore builds a request of every operation of every service, and the catalog names it."""

from __future__ import annotations

import warnings
from typing import Any

import botocore.session
import pytest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.model import OperationModel, Shape

from support.built import Built, Tally, raw_request

ALIKE = 350
"""Operations that share their request with another: RDS, Neptune and DocumentDB on one host, under one version."""


def dummy(shape: Shape, depth: int = 0) -> Any:
    """Something of a shape with what it requires."""
    match shape.type_name:
        case "structure":
            wanted = shape.required_members if depth < 6 else []  # type: ignore[attr-defined]
            if getattr(shape, "is_tagged_union", False) and shape.members:  # type: ignore[attr-defined]
                wanted = list(shape.members)[:1]  # type: ignore[attr-defined]
            return {name: dummy(shape.members[name], depth + 1) for name in wanted}  # type: ignore[attr-defined]
        case "list":
            return [dummy(shape.member, depth + 1)] if depth < 6 else []  # type: ignore[attr-defined]
        case "map":
            return {"k": dummy(shape.value, depth + 1)} if depth < 6 else {}  # type: ignore[attr-defined]
        case "string":
            return shape.enum[0] if getattr(shape, "enum", None) else "xyz1"  # type: ignore[attr-defined]
        case "integer" | "long":
            return 1
        case "float" | "double":
            return 1.0
        case "boolean":
            return False
        case "blob":
            return b"x"
        case _:
            return "2026-11-23T00:00:00Z"


def catch(request: Any, **_: Any) -> None:
    body = request.body
    if hasattr(body, "read"):
        body = body.read()
    raise Built(raw_request(request.method, request.url, request.headers, body))


def build(client: BaseClient, name: str, model: OperationModel, tally: Tally, service: str) -> None:
    arguments = dummy(model.input_shape) if model.input_shape is not None else {}
    if "AccountId" in arguments:
        arguments["AccountId"] = "123456789012"
    try:
        client._make_api_call(name, arguments)  # type: ignore[attr-defined]
    except Built as built:
        tally.add(f"aws.{service}.{name}", built.args[0])
    except Exception as error:
        tally.not_built.append(f"aws.{service}.{name}: {type(error).__name__}: {str(error)[:90]}")


def services() -> list[str]:
    return botocore.session.Session().get_available_services()


@pytest.mark.timeout(900)
def test_every_operation_of_every_service() -> None:
    session = botocore.session.Session()
    session.set_credentials("AKIDEXAMPLE", "secret", "token")
    session.set_config_variable("region", "us-east-1")
    config = Config(
        parameter_validation=False,
        retries={"total_max_attempts": 1},
        inject_host_prefix=True,
        endpoint_discovery_enabled=False,
    )
    tally = Tally()
    for service in services():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client = session.create_client(service, region_name="us-east-1", config=config)
            client.meta.events.register("before-send", catch)
            for name in client.meta.service_model.operation_names:
                build(client, name, client.meta.service_model.operation_model(name), tally, service)
            client.close()
    assert tally.lower == []
    assert tally.requests > 15_000
    assert len(tally.wrong) < tally.requests * 0.005, tally.wrong[:50]
    assert len(tally.alike) < ALIKE
