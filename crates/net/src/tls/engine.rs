//! What makes content of ciphertext and the other way round. The library shakes hands, and goes on with TLS 1.2; records of 1.3
//! are our own business after that ([`Records`]). Bytes in, bytes out: nothing here touches a socket.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{CommonState, ContentType, Error, PeerMisbehaved, ProtocolVersion, SupportedCipherSuite};

use super::records::{Records, Schedule};
use super::terminate;

/// A connection's keys and state.
pub(super) enum Engine {
    /// Hands are being shaken, or TLS 1.2 is spoken.
    Library(Box<Library>),
    /// TLS 1.3, after the handshake.
    Records(Box<Records>),
    /// An error has ended it; the name that a client has asked for before.
    Broken(Option<String>),
}

/// The library's part.
pub(super) struct Library {
    pub(super) side: Side,
    /// Bytes at the front of what was received that the library has seen, and wants to see again with more behind them.
    seen: usize,
    /// The name that a client has asked for.
    pub(super) name: Option<String>,
}

pub(super) enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What came of opening.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    /// Bytes that are done with.
    pub(super) used: usize,
    /// The peer has said that it says no more.
    pub(super) ended: bool,
}

/// Where content goes: into the reader's own block, and what finds no room there into a box of the connection's.
pub(super) struct Sink<'a> {
    pub(super) into: &'a mut [u8],
    pub(super) filled: usize,
    pub(super) over: &'a mut Vec<u8>,
}

/// What the library wants.
enum Wish {
    /// To go on.
    Again,
    /// More bytes.
    More,
    /// Nothing: the peer has said the end.
    End,
}

impl Engine {
    pub(super) fn new(side: Side) -> Engine {
        Engine::Library(Box::new(Library { side, seen: 0, name: None }))
    }

    /// The library's part, while it is there.
    pub(super) fn library(&self) -> Option<&Library> {
        match self {
            Engine::Library(library) => Some(library),
            Engine::Records(_) | Engine::Broken(_) => None,
        }
    }

    /// The name that a client has asked for, until hands are shaken.
    pub(super) fn asked(&self) -> Option<&str> {
        match self {
            Engine::Library(library) => library.name.as_deref(),
            Engine::Records(_) => None,
            Engine::Broken(name) => name.as_deref(),
        }
    }

    /// Bytes at the front of what was received that wait for what is to come behind them.
    pub(super) fn seen(&self) -> usize {
        self.library().map_or(0, |library| library.seen)
    }

    /// Opens what is whole of `bytes`, as long as there is room, and adds to `out` what has to be answered. After an error, too:
    /// the alert.
    pub(super) fn open(&mut self, bytes: &mut [u8], sink: &mut Sink<'_>, out: &mut Vec<u8>) -> Result<Opened, Error> {
        let opened = match self {
            Engine::Library(library) => library.open(bytes, sink, out),
            Engine::Records(records) => records.open(bytes, sink, out),
            Engine::Broken(_) => Err(Error::General("the connection is broken".to_owned())),
        };
        opened.inspect_err(|_| *self = Engine::Broken(self.asked().map(str::to_owned)))
    }

    /// Adds content to `out`. `received` is what was received and is not done with.
    pub(super) fn seal(&mut self, received: &mut [u8], content: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Engine::Library(library) => library.seal(received, Some(content), out),
            Engine::Records(records) => records.seal(ContentType::ApplicationData, content, out),
            Engine::Broken(_) => Err(Error::EncryptError),
        }
    }

    /// Adds the alert that closes to `out`, where something can be said.
    pub(super) fn seal_end(&mut self, received: &mut [u8], out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Engine::Library(library) => library.seal(received, None, out),
            Engine::Records(records) => records.seal(ContentType::Alert, &[1, 0], out),
            Engine::Broken(_) => Ok(()),
        }
    }

    /// Takes over from the library, where that can be. To be called when the handshake is over.
    pub(super) fn take_over(&mut self) -> Result<(), Error> {
        let Engine::Library(library) = std::mem::replace(self, Engine::Broken(None)) else { return Ok(()) };
        if library.common().protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            *self = Engine::Library(library);
            return Ok(());
        }
        // Hands are shaken at the end of a record: what the library has looked at beyond it would be lost.
        if library.seen > 0 {
            return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into());
        }
        let Some(SupportedCipherSuite::Tls13(suite)) = library.common().negotiated_cipher_suite() else {
            return Err(Error::HandshakeNotComplete);
        };
        let (secrets, schedule) = match library.side {
            Side::Server(connection) => {
                let (secrets, schedule) = connection.dangerous_into_kernel_connection()?;
                (secrets, Schedule::Server(schedule))
            }
            Side::Client(connection) => {
                let (secrets, schedule) = connection.dangerous_into_kernel_connection()?;
                (secrets, Schedule::Client(schedule))
            }
        };
        *self = Engine::Records(Box::new(Records::new(schedule, suite, secrets)?));
        Ok(())
    }
}

impl Library {
    pub(super) fn common(&self) -> &CommonState {
        match &self.side {
            Side::Server(connection) => connection,
            Side::Client(connection) => connection,
        }
    }

    /// The library is shown one record more at a time, so that it stops where the handshake does.
    fn open(&mut self, bytes: &mut [u8], sink: &mut Sink<'_>, out: &mut Vec<u8>) -> Result<Opened, Error> {
        let mut used = 0;
        let mut shown = self.seen;
        let mut ended = false;
        loop {
            let (done, wish) = self.step(&mut bytes[used..used + shown], sink, out);
            used += done;
            shown = shown.saturating_sub(done);
            self.seen = self.seen.saturating_sub(done);
            match wish {
                Ok(Wish::Again) => continue,
                Ok(Wish::More) => {}
                Ok(Wish::End) => ended = true,
                Err(error) => {
                    self.take_alert(&mut bytes[used..used + shown], out);
                    return Err(error);
                }
            }
            if ended {
                // What comes behind the end is ignored (RFC 8446 section 6.1).
                self.seen = 0;
                return Ok(Opened { used: bytes.len(), ended });
            }
            // More than it has done with now it must see whole: the beginning of a record comes again with its rest.
            let settled = !self.common().is_handshaking() && self.seen == 0;
            let rest = &bytes[used + self.seen..];
            if rest.len() <= shown - self.seen || (settled && self.is_new()) {
                return Ok(Opened { used, ended });
            }
            match whole(rest, usize::MAX) {
                Some(Ok(length)) if !sink.takes(length) => return Ok(Opened { used, ended }),
                Some(Ok(length)) => {
                    self.seen += length;
                    shown = self.seen;
                }
                // What is not whole is for the library's judgement of its header alone.
                _ => shown = self.seen + rest.len(),
            }
        }
    }

    /// Whether the handshake has ended, and records could be our own business from here on.
    fn is_new(&self) -> bool {
        self.common().protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    fn step(&mut self, bytes: &mut [u8], sink: &mut Sink<'_>, out: &mut Vec<u8>) -> (usize, Result<Wish, Error>) {
        match &mut self.side {
            Side::Server(connection) => {
                // Whoever else shook hands on this thread has left nothing behind.
                terminate::asked();
                let stepped = handle(connection.process_tls_records(bytes), sink, out);
                self.name = terminate::asked().or(self.name.take());
                stepped
            }
            Side::Client(connection) => handle(connection.process_tls_records(bytes), sink, out),
        }
    }

    /// What the library says of its error. It is asked for no more than that: what was wrong must not be read twice.
    fn take_alert(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) {
        let mut nowhere = Vec::new();
        let mut sink = Sink { into: &mut [], filled: 0, over: &mut nowhere };
        while self.common().wants_write() {
            if !matches!(self.step(bytes, &mut sink, out), (_, Ok(Wish::Again))) {
                return;
            }
        }
    }

    /// Adds content, or else the end, to `out`.
    fn seal(&mut self, received: &mut [u8], content: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Error> {
        let seen = &mut received[..self.seen];
        match &mut self.side {
            Side::Server(connection) => loop {
                if let Some(done) = speak(connection.process_tls_records(seen), content, out) {
                    return done;
                }
            },
            Side::Client(connection) => loop {
                if let Some(done) = speak(connection.process_tls_records(seen), content, out) {
                    return done;
                }
            },
        }
    }
}

impl Sink<'_> {
    /// Whether content of up to this length is welcome. The first is always, and when nothing has found no room yet.
    pub(super) fn takes(&self, most: usize) -> bool {
        self.over.is_empty() && (self.filled == 0 || self.into.len() - self.filled >= most)
    }

    pub(super) fn give(&mut self, content: &[u8]) {
        let fits = content.len().min(self.into.len() - self.filled);
        self.into[self.filled..self.filled + fits].copy_from_slice(&content[..fits]);
        self.filled += fits;
        self.over.extend_from_slice(&content[fits..]);
    }
}

/// The length of the first record with its header; none if it is not whole, an error with the length if it is longer than
/// `longest` and a header.
pub(super) fn whole(bytes: &[u8], longest: usize) -> Option<Result<usize, usize>> {
    let [_, _, _, high, low, ..] = *bytes else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > longest {
        return Some(Err(length));
    }
    (bytes.len() >= 5 + length).then_some(Ok(5 + length))
}

/// Does what the library wants; answers how many bytes it is done with.
fn handle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    sink: &mut Sink<'_>,
    out: &mut Vec<u8>,
) -> (usize, Result<Wish, Error>) {
    let mut done = status.discard;
    let wish = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut records)) => {
            let mut wish = Ok(Wish::Again);
            while let Some(record) = records.next_record() {
                match record {
                    Ok(record) => {
                        done += record.discard;
                        sink.give(record.payload);
                    }
                    Err(error) => wish = Err(error),
                }
            }
            wish
        }
        Ok(ConnectionState::EncodeTlsData(mut message)) => {
            encode(out, |room| message.encode(room).map_err(too_small)).map(|()| Wish::Again)
        }
        Ok(ConnectionState::TransmitTlsData(message)) => {
            message.done();
            Ok(Wish::Again)
        }
        Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => Ok(Wish::More),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Wish::End),
        // Nobody may send early: we never offer it.
        Ok(_) => Err(Error::General("an unknown state".to_owned())),
    };
    (done, wish)
}

/// Says something, once the library has said what it must before; none if it wants to be asked again.
fn speak<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    content: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Option<Result<(), Error>> {
    match status.state {
        Err(error) => Some(Err(error)),
        Ok(ConnectionState::EncodeTlsData(mut message)) => {
            encode(out, |room| message.encode(room).map_err(too_small)).err().map(Err)
        }
        Ok(ConnectionState::TransmitTlsData(message)) => {
            message.done();
            None
        }
        Ok(ConnectionState::WriteTraffic(mut writer)) => Some(encode(out, |room| {
            let said = match content {
                Some(content) => writer.encrypt(content, room),
                None => writer.queue_close_notify(room),
            };
            said.map_err(|error| match error {
                EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => Some(required_size),
                EncryptError::EncryptExhausted => None,
            })
        })),
        // In the middle of a handshake there is no clean end, and content does not come.
        Ok(_) => Some(if content.is_some() { Err(Error::HandshakeNotComplete) } else { Ok(()) }),
    }
}

fn too_small(error: EncodeError) -> Option<usize> {
    match error {
        EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => Some(required_size),
        EncodeError::AlreadyEncoded => None,
    }
}

/// Lets `write` fill room behind `out`; its error is how much it needs.
fn encode(out: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>) -> Result<(), Error> {
    let begin = out.len();
    let mut written = write(&mut []);
    if let Err(Some(needed)) = written {
        out.resize(begin + needed, 0);
        written = write(&mut out[begin..]);
    }
    out.truncate(begin + written.unwrap_or(0));
    written.map(|_| ()).map_err(|_| Error::EncryptError)
}
