"""Stand-ins for the whole run; one product for tests that leave it as they found it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.product import Product, make_product
from support.providers import Providers


@pytest.fixture(scope="session")
def running_providers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Providers]:
    providers = Providers.start(tmp_path_factory.mktemp("providers"))
    yield providers
    providers.stop()


@pytest.fixture
def providers(running_providers: Providers) -> Iterator[Providers]:
    running_providers.forget()
    yield running_providers
    running_providers.forget()


@pytest.fixture(scope="module")
def shared_product(running_providers: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A node with the shipped policy, for the tests of one file."""
    product = make_product(running_providers, tmp_path_factory.mktemp("node"))
    product.start()
    yield product
    product.stop()


@pytest.fixture
def product(shared_product: Product, providers: Providers) -> Product:
    """The file's node, before stand-ins that have seen nothing yet."""
    return shared_product


@pytest.fixture
def new_product(providers: Providers, tmp_path: Path) -> Iterator[Callable[..., Product]]:
    """Nodes of a test's own: `new_product(policy=…)`, not started yet; killed at the end if still there."""
    made: list[Product] = []

    def make(**options: object) -> Product:
        product = make_product(providers, tmp_path / f"node{len(made)}", **options)
        made.append(product)
        return product

    yield make
    for product in made:
        product.kill()
