//! Connections that are served once and then stay: what an idle client costs the proxy.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, Stream};

use crate::head::Head;
use crate::request::{self, Fields};
use crate::tls::Tls;

/// A connection with the session of TLS that runs on it, if one does.
type Held = (TcpStream, Option<ClientConnection>);

pub fn hold(to: SocketAddr, body: usize, connections: usize, tls: bool) -> io::Result<()> {
    let tls = tls.then(Tls::new);
    let request = request::write(0, Fields::Browser, false);
    let mut block = vec![0; 64 * 1024];
    let mut held = Vec::with_capacity(connections);
    let mut errors = 0;
    for _ in 0..connections {
        match serve_once(to, &request, body, &mut block, tls.as_ref()) {
            Ok(connection) => held.push(connection),
            Err(_) => errors += 1,
        }
    }
    println!(r#"{{"held":{},"errors":{errors}}}"#, held.len());
    io::stdin().read_to_end(&mut Vec::new())?;
    println!(r#"{{"still_open":{}}}"#, held.iter().filter(|(connection, _)| is_open(connection)).count());
    Ok(())
}

fn serve_once(to: SocketAddr, request: &[u8], body: usize, block: &mut [u8], tls: Option<&Tls>) -> io::Result<Held> {
    let mut connection = TcpStream::connect(to)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut session = tls.map(Tls::connection);
    match &mut session {
        Some(session) => exchange(&mut Stream::new(session, &mut connection), request, body, block)?,
        None => exchange(&mut connection, request, body, block)?,
    }
    Ok((connection, session))
}

fn exchange(connection: &mut (impl Read + Write), request: &[u8], body: usize, block: &mut [u8]) -> io::Result<()> {
    connection.write_all(request)?;
    let mut length = 0;
    loop {
        let more = connection.read(&mut block[length..])?;
        length += more;
        if more == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let Some(head) = Head::parse(&block[..length]) else { continue };
        if !head.first_line.starts_with(b"HTTP/1.1 200") || head.content_length != body {
            return Err(ErrorKind::InvalidData.into());
        }
        if length == head.length + body {
            return Ok(());
        }
    }
}

fn is_open(connection: &TcpStream) -> bool {
    let waits = connection.set_nonblocking(true).and_then(|()| connection.peek(&mut [0]));
    matches!(waits, Err(fault) if fault.kind() == ErrorKind::WouldBlock)
}
