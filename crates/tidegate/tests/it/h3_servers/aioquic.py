# A server of HTTP/3 by aioquic, which makes clients prove their address first (Retry): says what it was asked, says bodies back, ends
# with trailers where it is asked to, gives up a stream before or amid its answer, and closes its connection behind one. Arguments: the files of its certificate and key. It prints its port.

import asyncio
import sys

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated


class Server(QuicConnectionProtocol):
    connections = 0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        Server.connections += 1
        self.number = Server.connections
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
        if path == b"/reset":
            self._quic.reset_stream(stream, ErrorCode.H3_INTERNAL_ERROR)
            return self.transmit()
        if path == b"/cut":
            self.http.send_headers(stream, [(b":status", b"200"), (b"content-length", b"9")])
            self.http.send_data(stream, b"half", False)
            self.transmit()
            return asyncio.get_running_loop().call_later(0.2, self.cut, stream)
        self.http.send_headers(stream, [(b":status", b"103"), (b"link", b"</style.css>")]) if path == b"/early" else None
        self.http.send_headers(stream, [(b":status", b"200"), (b"server", b"aioquic"), (b"x-asked", path), (b"x-connection", b"%d" % self.number)])
        trailers = path == b"/trailers"
        self.http.send_data(stream, body or fields[b":authority"], not trailers)
        if trailers:
            self.http.send_headers(stream, [(b"x-sum", b"42")], True)
        self.transmit()
        if path == b"/leave":
            self.close(error_code=ErrorCode.H3_NO_ERROR)

    def cut(self, stream):
        self._quic.reset_stream(stream, ErrorCode.H3_INTERNAL_ERROR)
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
