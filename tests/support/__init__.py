"""What tests share: servers, encoders, terminals, contracts. No test imports from another test."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
