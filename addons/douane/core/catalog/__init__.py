"""Requests mapped to tools: a trie of path templates per provider, read from data."""

from douane.core.catalog.classify import Catalog
from douane.core.catalog.shard import Operation, Shard, ShardInvalid

__all__ = ["Catalog", "Operation", "Shard", "ShardInvalid"]
