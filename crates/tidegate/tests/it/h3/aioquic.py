# A client of HTTP/3 by aioquic: asks, sends a body, moves to another port, changes the id of its connection, asks again,
# and speaks a WebSocket. Arguments: the server's port, and the file of the authority. It prints a line for each thing that went well.

import asyncio
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import StreamReset

PORT, AUTHORITY = int(sys.argv[1]), sys.argv[2]


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.streams = {}

    def quic_event_received(self, event):
        if isinstance(event, StreamReset) and event.stream_id in self.streams:
            self.streams[event.stream_id].put_nowait(ConnectionError(event.error_code))
        for event in self.http.handle_event(event):
            if isinstance(event, (HeadersReceived, DataReceived)) and event.stream_id in self.streams:
                self.streams[event.stream_id].put_nowait(event)

    def begin(self, fields, ends):
        stream = self._quic.get_next_available_stream_id()
        self.streams[stream] = asyncio.Queue()
        self.http.send_headers(stream, [(name.encode(), value.encode()) for name, value in fields], ends)
        self.transmit()
        return stream

    def send(self, stream, content, ends):
        self.http.send_data(stream, content, ends)
        self.transmit()

    async def event(self, stream):
        event = await asyncio.wait_for(self.streams[stream].get(), 20)
        if isinstance(event, Exception):
            raise event
        return event

    async def answer(self, stream):
        head, body, ended = None, b"", False
        while not ended:
            event = await self.event(stream)
            if isinstance(event, HeadersReceived):
                head = head or dict(event.headers)
            else:
                body += event.data
            ended = event.stream_ended
        return head, body


def request(method, path, *more):
    return [(":method", method), (":scheme", "https"), (":authority", "example.com"), (":path", path), *more]


async def main():
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="example.com")
    configuration.load_verify_locations(AUTHORITY)
    configuration.verify_mode = ssl.CERT_REQUIRED
    async with connect("127.0.0.1", PORT, configuration=configuration, create_protocol=Client) as client:
        head, body = await client.answer(client.begin(request("GET", "/get"), True))
        assert head[b":status"] == b"200" and body == b"", (head, body)
        print("asked")

        stream = client.begin(request("POST", "/post", ("content-length", "500000")), False)
        client.send(stream, b"x" * 500000, True)
        head, body = await client.answer(stream)
        assert head[b":status"] == b"200" and body == b"x" * 500000, (head, len(body))
        print("sent")

        # Another socket under the same connection, as behind a translator of addresses that has forgotten.
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: client, local_addr=("::", 0))
        head, body = await client.answer(client.begin(request("GET", "/moved"), True))
        assert head[b":status"] == b"200", head
        print("moved")

        # The ids that the server has issued, one after the other, each from another place: no observer knows one by the other.
        for number in range(6):
            client.change_connection_id()
            if number % 2:
                await asyncio.get_running_loop().create_datagram_endpoint(lambda: client, local_addr=("::", 0))
            stream = client.begin(request("POST", f"/renamed/{number}", ("content-length", "20000")), False)
            client.send(stream, b"y" * 20000, True)
            head, body = await client.answer(stream)
            assert head[b":status"] == b"200" and body == b"y" * 20000, (number, head, len(body))
        print("renamed")

        fields = request("CONNECT", "/chat", (":protocol", "websocket"), ("sec-websocket-version", "13"))
        fields.insert(1, fields.pop(4))
        stream = client.begin(fields, False)
        head = dict((await client.event(stream)).headers)
        assert head[b":status"] == b"200", head
        client.send(stream, b"any bytes", False)
        heard = b""
        while heard != b"any bytes":
            heard += (await client.event(stream)).data
        client.send(stream, b"", True)
        print("talked")


asyncio.run(main())
