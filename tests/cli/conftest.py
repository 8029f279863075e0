"""Products and stand-ins, as the end-to-end tests have them; the files' node lets no client wait for a verdict."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.conftest import new_product, product, providers, running_providers
from support.policy import policy_folder
from support.product import Product, make_product
from support.providers import Providers

__all__ = ["new_product", "product", "providers", "running_providers"]


@pytest.fixture(scope="module")
def shared_product(running_providers: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A node that answers a held call at once."""
    folder = tmp_path_factory.mktemp("node")
    product = make_product(running_providers, folder, policy=policy_folder(folder / "policy", wait="100ms"))
    product.start()
    yield product
    product.stop()


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A home with a reviewer and no agent, whose node does not run."""
    product = Product(home=tmp_path_factory.mktemp("idle") / "home")
    product.run("reviewer", "add", "first")
    return product
