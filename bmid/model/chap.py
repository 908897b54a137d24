"""The CHAP secret of an export, derived and never stored."""

from __future__ import annotations

import base64
import hmac

__all__ = ["chap_secret"]

LENGTH = 16  # initiators and targets agree on 12 to 16 characters (RFC 7143, section 12.1.3, asks for at least 96 bits)


def chap_secret(site_key: bytes, disk: str, generation: int) -> str:
    """16 base32 characters of HMAC-SHA256(site key, disk id and generation)."""
    digest = hmac.digest(site_key, f"{disk}:{generation}".encode(), "sha256")
    return base64.b32encode(digest).decode()[:LENGTH]
