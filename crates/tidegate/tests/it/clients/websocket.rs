//! A WebSocket client and server by Python's `websockets`, with TLS in front.

use testkit::{Process, ok, python};

use super::{Desk, Edge, output_of, said};
use crate::tls::EDGE;

/// Echoes messages as they come; says where it listens, ends with us.
const SERVER: &str = r#"
import asyncio, websockets
from websockets.asyncio.server import serve
async def echo(socket):
    async for message in socket:
        if message == "close":
            await socket.close(4001, "as asked")
            return
        await socket.send(message)
async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=None, compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()
asyncio.run(main())
"#;

const CLIENT: &str = r#"
import asyncio, os, ssl, sys
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
host, port, ca = sys.argv[1:]
trust = ssl.create_default_context(cafile=ca)
async def main():
    async with connect("wss://example.com/socket", host=host, port=int(port), ssl=trust, max_size=None, compression=None) as socket:
        for message in ["short", "", "long " * 100_000, os.urandom(3_000_000), os.urandom(125), os.urandom(65_536)]:
            await socket.send(message)
            assert await socket.recv() == message
        # One message in many frames, with a ping between them.
        async def pieces():
            for piece in ["one ", "two ", "three"]:
                yield piece
                await asyncio.wait_for(await socket.ping(), 30)
        await socket.send(pieces())
        assert await socket.recv() == "one two three"
        await asyncio.gather(*[socket.send(str(number)) for number in range(500)])
        assert [await socket.recv() for _ in range(500)] == [str(number) for number in range(500)]
        await socket.send("close")
        try:
            await socket.recv()
        except ConnectionClosed as end:
            print("closed", end.rcvd.code, end.rcvd.reason)
asyncio.run(main())
"#;

#[test]
fn a_websocket_of_python_passes_unchanged() {
    let (Some(mut server), Some(mut client)) = (python("websockets"), python("websockets")) else { return };
    let (_server, port) = Process::saying(server.args(["-c", SERVER]));
    let desk = Desk::new();
    let tidegate = desk.start(&EDGE.replace("@APP", &format!("127.0.0.1:{port}")), &[]);
    let address = tidegate.address("web");
    let (host, port) = address.rsplit_once(':').expect("an address");
    let ca = desk.folder.path().join("ca.pem").display().to_string();
    let output = output_of(client.args(["-c", CLIENT, host, port, &ca]));
    assert_eq!(said(&output).trim(), "closed 4001 as asked");
    let line = tidegate.log_of("/socket");
    assert_eq!(line["status"], 101, "{line}");
}

#[test]
fn a_server_without_websockets_refuses_and_its_answer_is_seen() {
    let Some(mut client) = python("websockets") else { return };
    let edge = Edge::before(testkit::Server::http(|_| ok("no socket here")));
    let address = edge.address();
    let (host, port) = address.rsplit_once(':').expect("an address");
    let output = output_of(client.args(["-c", CLIENT, host, port, &edge.ca()]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("HTTP 200"), "{said}");
}
