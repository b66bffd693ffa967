//! A client that sends exact bytes and reads exactly one response.

use std::io::Write;

use crate::message::{Broken, Reader, Response};
use crate::socket::Socket;
use crate::tls::{Agreed, ClientTls};

/// A client's connection.
#[derive(Debug)]
pub struct Client {
    /// What comes.
    pub reader: Reader,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By a close, and nothing came before it.
    Clean,
    /// By a reset.
    Reset,
    /// These bytes came before the end.
    Bytes(Vec<u8>),
    /// It did not end in time.
    Open,
}

impl Client {
    /// Connects to `HOST:PORT` or `unix:PATH`.
    ///
    /// # Panics
    /// Nobody listens there.
    pub fn connect(address: &str) -> Client {
        match Client::try_connect(address) {
            Some(client) => client,
            None => panic!("nobody listens at {address}"),
        }
    }

    /// Connects, if somebody listens there.
    pub fn try_connect(address: &str) -> Option<Client> {
        Some(Client { reader: Reader::new(Socket::connect(address).ok()?) })
    }

    /// Connects to `HOST:PORT` by TLS.
    ///
    /// # Panics
    /// Nobody listens there, or the two do not agree.
    pub fn secured(address: &str, tls: &ClientTls) -> Client {
        Client::try_secured(address, tls).expect("a session")
    }

    /// Connects to `HOST:PORT` by TLS.
    ///
    /// # Errors
    /// The two do not agree, and why.
    pub fn try_secured(address: &str, tls: &ClientTls) -> std::io::Result<Client> {
        Ok(Client { reader: Reader::new(Socket::connect(address)?.secure(tls)?) })
    }

    /// A tunnel to a place, by a proxy that has let it through.
    ///
    /// # Panics
    /// It has not.
    pub fn through(proxy: &str, to: &str) -> Client {
        let mut client = Client::connect(proxy);
        client.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
        assert_eq!(client.head().status, 200, "{to}");
        client
    }

    /// Begins TLS, where nothing was said that was not heard.
    ///
    /// # Errors
    /// The two do not agree, and why.
    pub fn begin(self, tls: &ClientTls) -> std::io::Result<Client> {
        assert!(self.reader.surplus().is_empty(), "said before TLS");
        Ok(Client { reader: Reader::new(self.reader.socket.secure(tls)?) })
    }

    /// What TLS has agreed on.
    pub fn agreed(&self) -> Agreed {
        self.reader.socket.agreed()
    }

    /// This end's address, as the program logs it.
    ///
    /// # Panics
    /// It is a Unix socket.
    pub fn local_address(&self) -> String {
        match &self.reader.socket {
            Socket::Tcp(stream) => stream.local_addr().expect("the address of an open socket").to_string(),
            Socket::Unix(_) | Socket::Secured(_) => panic!("only TCP has an address here"),
        }
    }

    /// Sends these bytes.
    ///
    /// # Panics
    /// They are not taken.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.socket.write_all(bytes.as_ref()).expect("the connection takes what is sent");
    }

    /// Sends these bytes, which may not be wanted any more.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.socket.write_all(bytes.as_ref()).is_ok()
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        self.reader.socket.finish();
    }

    /// Reads a final response, interim ones before it.
    ///
    /// # Panics
    /// There is none.
    pub fn response(&mut self) -> Response {
        self.try_response().expect("a whole response")
    }

    /// Reads a final response, if there is one.
    ///
    /// # Errors
    /// Why there is none.
    pub fn try_response(&mut self) -> Result<Response, Broken> {
        self.reader.response(false)
    }

    /// Reads the response to a HEAD request.
    ///
    /// # Panics
    /// There is none.
    pub fn response_to_head(&mut self) -> Response {
        self.reader.response(true).expect("a whole response")
    }

    /// Reads one head, interim or final, and leaves the body.
    ///
    /// # Panics
    /// There is none.
    pub fn head(&mut self) -> Response {
        self.reader.response_head(false).expect("a whole head")
    }

    /// Sends bytes and reads the response to them.
    ///
    /// # Panics
    /// There is none.
    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        self.send(bytes);
        self.response()
    }

    /// Sends a plain GET request and reads the response.
    ///
    /// # Panics
    /// There is none.
    pub fn get(&mut self, target: &str) -> Response {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: test.example\r\n\r\n"))
    }

    /// Reads exactly so many bytes, of a tunnel for instance.
    ///
    /// # Panics
    /// They do not come.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        self.reader.exactly(count).expect("so many bytes")
    }

    /// Waits for the connection's end.
    pub fn ending(&mut self) -> Ending {
        match self.reader.to_end() {
            Ok(bytes) if bytes.is_empty() => Ending::Clean,
            Ok(bytes) => Ending::Bytes(bytes),
            Err(Broken::Reset) => Ending::Reset,
            Err(_) => Ending::Open,
        }
    }

    /// Closes the connection by a reset.
    pub fn reset(self) {
        self.reader.socket.reset_on_close();
    }
}
