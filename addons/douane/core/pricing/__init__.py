"""Prices: what a call may cost at worst, and what its usage did cost."""

from douane.core.pricing.book import Plan, PriceBook
from douane.core.pricing.compile import BOOK_VERSION, known_models, known_providers
from douane.core.pricing.meter import ResponseMeter
from douane.core.pricing.row import PriceRow
from douane.core.pricing.stated import OverlayPrice, ToolFee, overlay_line
from douane.core.pricing.uploads import Uploads

__all__ = [
    "BOOK_VERSION",
    "OverlayPrice",
    "Plan",
    "PriceBook",
    "PriceRow",
    "ResponseMeter",
    "ToolFee",
    "Uploads",
    "known_models",
    "known_providers",
    "overlay_line",
]
