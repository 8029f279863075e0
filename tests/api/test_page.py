"""`docs/api.md` tells the API as it is served."""

from __future__ import annotations

import inspect
import re

import pytest
from pydantic import BaseModel

from douane.api import server
from support.routes import PAGE, served, told


def test_the_page_and_the_server_have_the_same_routes() -> None:
    assert sorted(told()) == sorted(served())


@pytest.mark.parametrize(
    "body", [kind for kind in vars(server).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]
)
def test_every_member_of_a_body_is_on_the_page(body: type[BaseModel]) -> None:
    page = PAGE.read_text()
    assert [name for name in body.model_fields if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", page)] == []


def test_the_page_and_the_server_have_the_same_errors() -> None:
    source = inspect.getsource(server)
    raised = re.findall(r"_Refused\(\s*(\d{3}), \"(\w+)\"", source)
    told_by_write_error = [("405", "not_allowed"), ("500", "error"), ("503", "store_unavailable")]
    assert [code for _, code in told_by_write_error if f'"{code}"' not in source] == []
    listed = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE.read_text(), re.M)
    assert sorted(listed) == sorted({*raised, *told_by_write_error})
