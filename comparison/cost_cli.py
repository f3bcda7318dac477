"""The old name of :mod:`comparison.cli`, in installations of before."""

from comparison.cli import cost as cost
