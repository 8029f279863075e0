"""Requests mapped to tools: a trie of path templates per API, read from data."""

from douane.core.catalog.classify import Catalog
from douane.core.catalog.operation import Operation
from douane.core.catalog.shard import Shard, ShardInvalid, shard_from_json
from douane.core.catalog.sites import Site, Sites

__all__ = ["Catalog", "Operation", "Shard", "ShardInvalid", "Site", "Sites", "shard_from_json"]
