# A server of HTTP/3 by aioquic, which makes clients prove their address first (Retry): says what it was asked, says bodies back, ends
# with trailers where it is asked to. Arguments: the files of its certificate and key. It prints its port.

import asyncio
import sys

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated


class Server(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.asked = {}

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        for event in self.http.handle_event(event) if self.http else []:
            if isinstance(event, HeadersReceived):
                self.asked.setdefault(event.stream_id, [dict(event.headers), b""])
            elif isinstance(event, DataReceived):
                self.asked[event.stream_id][1] += event.data
            else:
                continue
            if event.stream_ended:
                self.answer(event.stream_id, *self.asked.pop(event.stream_id))

    def answer(self, stream, fields, body):
        path = fields[b":path"]
        self.http.send_headers(stream, [(b":status", b"103"), (b"link", b"</style.css>")]) if path == b"/early" else None
        self.http.send_headers(stream, [(b":status", b"200"), (b"server", b"aioquic"), (b"x-asked", path)])
        trailers = path == b"/trailers"
        self.http.send_data(stream, body or fields[b":authority"], not trailers)
        if trailers:
            self.http.send_headers(stream, [(b"x-sum", b"42")], True)
        self.transmit()


async def main():
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    configuration.load_cert_chain(sys.argv[1], sys.argv[2])
    server = await serve("127.0.0.1", 0, configuration=configuration, create_protocol=Server, retry=True)
    print(server._transport.get_extra_info("sockname")[1])
    # Until whoever has started it is no more.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main())
