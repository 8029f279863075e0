"""Products and stand-ins, as the end-to-end tests have them."""

from e2e.conftest import new_product, product, providers, running_providers, shared_product

__all__ = ["new_product", "product", "providers", "running_providers", "shared_product"]
