"""Hashes of content, by which the step cache knows its inputs again, and hashers, which say what a type consists of."""

from crystallize.hashing.base import Hasher
from crystallize.hashing.content import content_hash
from crystallize.utils.parts import Chunks, StandsFor

__all__ = ["Chunks", "Hasher", "StandsFor", "content_hash"]
