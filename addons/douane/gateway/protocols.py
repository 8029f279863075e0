"""Only HTTP passes: whatever else mitmproxy would tunnel is closed before a byte goes upstream."""

from __future__ import annotations

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import ClientTLSLayer, HttpLayer, ServerTLSLayer, modes

_PASSES = (HttpLayer, ClientTLSLayer, ServerTLSLayer, modes.HttpProxy)


class ClosedLayer(layer.Layer):
    """Closes the client's connection at once and sends nothing anywhere."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            yield commands.CloseConnection(self.context.client)


class ProtocolGuard:
    """Runs after mitmproxy's own choice of the next layer and takes back every choice that is not HTTP or TLS."""

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Replace raw TCP, UDP, DNS and QUIC by a layer that closes."""
        if nextlayer.layer is not None and not isinstance(nextlayer.layer, _PASSES):
            nextlayer.layer = ClosedLayer(nextlayer.context)
