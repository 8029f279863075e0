"""A package, so that its tests share one product and one browser, and nobody else's tests run beside them."""
