"""What the bot tells its action server: names that both must spell alike."""

from __future__ import annotations

CALLER_METADATA = "caller"
TRACEPARENT_METADATA = "traceparent"
ANONYMOUS_SCOPES_VARIABLE = "ANONYMOUS_SCOPES"
EVERY_SCOPE = "*"
# The channel of the mobile app.
CHANNEL_NAME = "mobile"
