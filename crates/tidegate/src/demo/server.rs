//! A small HTTP server for the demo: it says its name and what reached it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Starts a server of that name on a free port.
pub(super) fn start(name: &'static str) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // A connection that breaks is its client's affair.
            thread::spawn(move || drop(serve(name, stream)));
        }
    })?;
    Ok(address)
}

fn serve(name: &str, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        let body = format!("this is {name}; what reached me:\n{request}");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
        writer.write_all(head.as_bytes())?;
        if !request.starts_with("HEAD ") {
            writer.write_all(body.as_bytes())?;
        }
    }
    Ok(())
}

/// Reads one request, framed as the proxy frames it: by length or in chunks. Answers its head.
fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let (mut head, mut length, mut chunked) = (String::new(), 0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        chunked |= lower.starts_with("transfer-encoding:");
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    if chunked {
        skip_chunks(reader)?;
    } else {
        io::copy(&mut reader.take(length), &mut io::sink())?;
    }
    Ok(Some(head))
}

fn skip_chunks(reader: &mut BufReader<TcpStream>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        if size > 0 {
            io::copy(&mut reader.take(size + 2), &mut io::sink())?;
            continue;
        }
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                break;
            }
        }
        return Ok(());
    }
}
