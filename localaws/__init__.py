"""A local AWS: moto served on loopback, completed where it falls short. See README.md."""

from localaws.launcher import LocalAWS

__all__ = ["LocalAWS"]
