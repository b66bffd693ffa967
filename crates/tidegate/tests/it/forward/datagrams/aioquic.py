# A client of UDP inside of HTTP/3 by aioquic: asks for a server, and speaks to it in datagrams of QUIC. Arguments: the proxy's port, the
# server's port, and the file of the authority. It prints a line for each thing that went well.

import asyncio
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DatagramReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

PORT, SERVER, AUTHORITY = int(sys.argv[1]), sys.argv[2], sys.argv[3]


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # That is how it says that it takes datagrams of HTTP.
        self.http = H3Connection(self._quic, enable_webtransport=True)
        self.heads, self.datagrams = asyncio.Queue(), asyncio.Queue()

    def quic_event_received(self, event):
        for event in self.http.handle_event(event):
            if isinstance(event, HeadersReceived):
                self.heads.put_nowait(dict(event.headers))
            elif isinstance(event, DatagramReceived):
                self.datagrams.put_nowait(event)


async def main():
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="example.com", max_datagram_frame_size=65536)
    configuration.load_verify_locations(AUTHORITY)
    configuration.verify_mode = ssl.CERT_REQUIRED
    async with connect("127.0.0.1", PORT, configuration=configuration, create_protocol=Client) as client:
        stream = client._quic.get_next_available_stream_id()
        path = f"/.well-known/masque/udp/127.0.0.1/{SERVER}/"
        fields = [
            (":method", "CONNECT"),
            (":protocol", "connect-udp"),
            (":scheme", "https"),
            (":authority", "proxy.test"),
            (":path", path),
            ("capsule-protocol", "?1"),
        ]
        client.http.send_headers(stream, [(name.encode(), value.encode()) for name, value in fields], False)
        client.transmit()
        head = await asyncio.wait_for(client.heads.get(), 20)
        assert head[b":status"] == b"200", head
        print("agreed")
        for number in range(100):
            client.http.send_datagram(stream, b"\0%d" % number)
            client.transmit()
            event = await asyncio.wait_for(client.datagrams.get(), 20)
            assert event.stream_id == stream and event.data == b"\0udp %d" % number, event
        print("100 answers")


asyncio.run(main())
