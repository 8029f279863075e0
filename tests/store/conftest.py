from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from douane.store.sqlite import SqliteStore
from support.register import Place, SetClock


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def clock(place: Place) -> SetClock:
    return place.clock


@pytest.fixture
async def store(place: Place) -> AsyncIterator[SqliteStore]:
    async with place.opened() as opened:
        yield opened
