"""The fixtures of the browser tests; see shop.py."""

from __future__ import annotations

from shop import chromium, empty_shop, open_tab, own_shop, serve, shop, world

__all__ = ["chromium", "empty_shop", "open_tab", "own_shop", "serve", "shop", "world"]
