"""Prices: what a call may cost at worst, and what its usage did cost."""

from douane.core.pricing.book import Plan, PriceBook
from douane.core.pricing.compile import OverlayPrice, known_providers
from douane.core.pricing.meter import ResponseMeter
from douane.core.pricing.row import PriceRow

__all__ = ["OverlayPrice", "Plan", "PriceBook", "PriceRow", "ResponseMeter", "known_providers"]
