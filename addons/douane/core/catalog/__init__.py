"""Requests mapped to tools: a trie of path templates per provider, read from data."""

from douane.core.catalog.classify import Catalog
from douane.core.catalog.operation import Operation
from douane.core.catalog.shard import Shard, ShardInvalid, shard_from_json

__all__ = ["Catalog", "Operation", "Shard", "ShardInvalid", "shard_from_json"]
