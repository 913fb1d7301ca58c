"""What every answer tells the browser: what a page may load, and that no other page may frame or read it."""

from __future__ import annotations

from collections.abc import Mapping

POLICY = "content-security-policy"

HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

REMOVED = ("feature-policy",)
"""What Dagster sends and browsers have forgotten; it only fills their console."""

NEVER = "base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"

DASHBOARD_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    f"connect-src 'self'; manifest-src 'self'; {NEVER}"
)
"""Of our own pages: nothing inline, nothing from elsewhere."""

PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    f"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; {NEVER}"
)
"""Of Dagster's pages that bring none of their own: GraphiQL has inline script and style."""

BESIDE_DAGSTERS = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; form-action 'self'; frame-ancestors 'none'"
)
"""What Dagster's own policy for its UI leaves open."""
