"""Engines: small adapters that make shards appear, on this machine or by a scheduler."""

from gendesign.campaign.engines.base import ShardEngine, make_engine

__all__ = ["ShardEngine", "make_engine"]
