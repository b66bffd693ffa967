//! SOCKS as a server hears it: version 4 with its extension 4a, and version 5 (RFC 1928) with passwords (RFC 1929).
//!
//! A client says little, and each of its messages says how long it is: what is read here is never longer than [`MOST`]. Whoever reads
//! gives what has come so far, and is told what it says and its length, or that there is more to come.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::credentials::Credentials;
use crate::uri;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Version 4; with a name in the place of an address it is called 4a.
    V4,
    /// Version 5.
    V5,
}

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// A connection to a server.
    Connect,
    /// To be connected to by a server.
    Bind,
    /// To send datagrams and to hear what is said to them.
    Associate,
}

/// Where something goes to, or comes from: as a client has written it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name in normal form, which is no address.
    Name(Box<str>),
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// What it wants.
    pub command: Command,
    /// The server.
    pub host: Host,
    /// Its port.
    pub port: u16,
}

/// How a client would say who it is, of the ways that we know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Methods {
    /// Not at all.
    pub none: bool,
    /// By name and password.
    pub password: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// It is granted.
    Granted,
    /// It is not, for a reason that has no number of its own.
    Failed,
    /// Our rules forbid it.
    NotAllowed,
    /// No way leads to the server.
    HostUnreachable,
    /// Nobody listens there.
    Refused,
    /// The server has not answered in time.
    Expired,
    /// Such a command is not carried out here.
    Command,
    /// Such a kind of address is not known here.
    AddressType,
    /// The client has not said who it is in a way that counts.
    Unproven,
}

/// Bytes that are no message of the client's, why, and what it is told, if it is told anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// What is wrong.
    pub reason: &'static str,
    /// The answer.
    pub reply: Option<Reply>,
}

/// The longest message of a client: a request of version 4a.
pub const MOST: usize = 8 + (LONGEST_NAME + 1) * 2;
/// The longest name of a user, by version 5; and the longest host.
const LONGEST_NAME: usize = 255;
/// The version of the conversation on passwords, which is none of SOCKS.
const PASSWORDS: u8 = 1;

const V4: u8 = 4;
const V5: u8 = 5;

/// The answer to a greeting: nobody is asked who it is, a password is asked for, there is nothing that both would do.
pub const ASK_NOTHING: [u8; 2] = [V5, 0];
/// See [`ASK_NOTHING`].
pub const ASK_PASSWORD: [u8; 2] = [V5, 2];
/// See [`ASK_NOTHING`].
pub const NO_METHOD: [u8; 2] = [V5, 0xFF];
/// The answer to a password that is right, and to one that is not.
pub const BELIEVED: [u8; 2] = [PASSWORDS, 0];
/// See [`BELIEVED`].
pub const NOT_BELIEVED: [u8; 2] = [PASSWORDS, 1];

impl Version {
    /// What a client speaks whose first byte is this.
    pub fn of(first: u8) -> Option<Version> {
        match first {
            V4 => Some(Version::V4),
            V5 => Some(Version::V5),
            _ => None,
        }
    }

    /// The same for a log.
    pub fn text(self) -> &'static [u8] {
        match self {
            Version::V4 => b"SOCKS4",
            Version::V5 => b"SOCKS5",
        }
    }
}

/// Reads the greeting of version 5: which ways there are to learn who its client is.
///
/// # Errors
/// It is none.
pub fn greeting(bytes: &[u8]) -> Result<Option<(Methods, usize)>, Invalid> {
    let mut left = Bytes(bytes);
    let read = (|| {
        left.is(V5, "no greeting of SOCKS5")?;
        let methods = left.counted()?;
        if methods.is_empty() {
            return Err(Stop::Wrong("a greeting without a method"));
        }
        Ok(Methods { none: methods.contains(&ASK_NOTHING[1]), password: methods.contains(&ASK_PASSWORD[1]) })
    })();
    done(bytes, left, read)
}

/// Reads a name and a password.
///
/// # Errors
/// It is something else.
pub fn credentials(bytes: &[u8]) -> Result<Option<(Credentials, usize)>, Invalid> {
    let mut left = Bytes(bytes);
    let read = (|| {
        left.is(PASSWORDS, "no name and password")?;
        let name = left.counted()?.to_vec();
        Ok(Credentials::Basic { name, password: left.counted()?.to_vec() })
    })();
    done(bytes, left, read)
}

/// Reads a request; that of version 4 is all that its client says.
///
/// # Errors
/// It is none, or one that cannot be followed. A host must be one that a URL may have.
pub fn request(version: Version, bytes: &[u8]) -> Result<Option<(Request, usize)>, Invalid> {
    let mut left = Bytes(bytes);
    let read = match version {
        Version::V4 => left.request_v4(),
        Version::V5 => left.request_v5(),
    };
    done(bytes, left, read)
}

/// What stands in front of a datagram: who it is for, or from whom it is. Answers that and its length.
///
/// # Errors
/// It is none that we take: pieces of datagrams are put together by nobody here (RFC 1928 section 7).
pub fn datagram(bytes: &[u8]) -> Result<(Host, u16, usize), Invalid> {
    let mut left = Bytes(bytes);
    let read = (|| {
        left.take(2)?;
        left.is(0, "a piece of a datagram")?;
        left.place()
    })();
    match done(bytes, left, read)? {
        Some(((host, port), length)) => Ok((host, port, length)),
        None => Err(wrong("a datagram without an address")),
    }
}

/// Writes the same for a datagram that came from this address.
pub fn write_datagram_head(from: SocketAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 0]);
    write_address(from, out);
}

impl Reply {
    /// Writes the answer to a request. `bound` is our end of what was opened, if anything was.
    pub fn write(self, version: Version, bound: Option<SocketAddr>, out: &mut Vec<u8>) {
        let bound = bound.unwrap_or(NOWHERE);
        match version {
            Version::V4 => {
                // Whether it is granted, and where from, is all that this version can say.
                let ip = match bound.ip().to_canonical() {
                    IpAddr::V4(ip) => ip,
                    IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
                };
                out.extend_from_slice(&[0, self.v4()]);
                out.extend_from_slice(&bound.port().to_be_bytes());
                out.extend_from_slice(&ip.octets());
            }
            Version::V5 => {
                out.extend_from_slice(&[V5, self.v5(), 0]);
                write_address(bound, out);
            }
        }
    }

    fn v4(self) -> u8 {
        match self {
            Reply::Granted => 90,
            Reply::Unproven => 93,
            _ => 91,
        }
    }

    fn v5(self) -> u8 {
        match self {
            Reply::Granted => 0,
            Reply::Failed => 1,
            Reply::NotAllowed | Reply::Unproven => 2,
            Reply::HostUnreachable => 4,
            Reply::Refused => 5,
            Reply::Expired => 6,
            Reply::Command => 7,
            Reply::AddressType => 8,
        }
    }
}

impl Host {
    /// One that was written as text: an address has one form alone.
    fn read(text: &[u8]) -> Option<Host> {
        let name = std::str::from_utf8(text).ok()?;
        if let Ok(ip) = name.parse::<IpAddr>() {
            return Some(Host::Ip(ip.to_canonical()));
        }
        if name.contains([':', '[']) || !uri::is_authority(text) {
            return None;
        }
        let name = uri::host(text);
        let name = std::str::from_utf8(&name).ok().filter(|name| *name != ".")?;
        // A name that was an address with a dot behind it.
        Some(name.parse::<IpAddr>().map_or_else(|_| Host::Name(name.into()), Host::Ip))
    }

    /// With a port, as it would stand in a URL.
    pub fn authority(&self, port: u16) -> String {
        match self {
            Host::Ip(ip) => SocketAddr::new(*ip, port).to_string(),
            Host::Name(name) => format!("{name}:{port}"),
        }
    }
}

/// What is left of a message.
struct Bytes<'a>(&'a [u8]);

/// Why no message was read.
enum Stop {
    Partial,
    Wrong(&'static str),
    Answered(&'static str, Reply),
}

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let (taken, left) = self.0.split_at_checked(count).ok_or(Stop::Partial)?;
        self.0 = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn is(&mut self, wanted: u8, otherwise: &'static str) -> Result<(), Stop> {
        if self.byte()? == wanted { Ok(()) } else { Err(Stop::Wrong(otherwise)) }
    }

    /// As many as the byte in front of them says.
    fn counted(&mut self) -> Result<&'a [u8], Stop> {
        let count = self.byte()?;
        self.take(usize::from(count))
    }

    /// As many as stand before a zero.
    fn until_zero(&mut self, otherwise: &'static str) -> Result<&'a [u8], Stop> {
        let known = self.0.iter().take(LONGEST_NAME + 1).position(|byte| *byte == 0);
        match known {
            Some(length) => {
                let text = self.take(length)?;
                self.take(1)?;
                Ok(text)
            }
            None if self.0.len() > LONGEST_NAME => Err(Stop::Answered(otherwise, Reply::Failed)),
            None => Err(Stop::Partial),
        }
    }

    fn port(&mut self) -> Result<u16, Stop> {
        self.array().map(u16::from_be_bytes)
    }

    fn request_v4(&mut self) -> Result<Request, Stop> {
        self.is(V4, "no request of SOCKS4")?;
        let command = match self.byte()? {
            1 => Ok(Command::Connect),
            2 => Ok(Command::Bind),
            _ => Err(UNKNOWN_COMMAND),
        };
        let (port, ip) = (self.port()?, Ipv4Addr::from(self.array()?));
        // Who the client says that it is proves nothing.
        self.until_zero("a user's name without an end")?;
        let host = match ip.octets() {
            // So an address looks that cannot be one, for a name that follows.
            [0, 0, 0, last] if last > 0 => {
                let name = self.until_zero("a host's name without an end")?;
                Host::read(name).ok_or(Stop::Answered(NO_HOST, Reply::Failed))?
            }
            _ => Host::Ip(ip.into()),
        };
        Ok(Request { command: command?, host, port })
    }

    fn request_v5(&mut self) -> Result<Request, Stop> {
        self.is(V5, "no request of SOCKS5")?;
        let command = match self.byte()? {
            1 => Ok(Command::Connect),
            2 => Ok(Command::Bind),
            3 => Ok(Command::Associate),
            _ => Err(UNKNOWN_COMMAND),
        };
        self.take(1)?;
        let (host, port) = self.place()?;
        Ok(Request { command: command?, host, port })
    }

    fn place(&mut self) -> Result<(Host, u16), Stop> {
        let host = match self.byte()? {
            1 => Host::Ip(Ipv4Addr::from(self.array()?).into()),
            3 => Host::read(self.counted()?).ok_or(Stop::Answered(NO_HOST, Reply::Failed))?,
            4 => Host::Ip(IpAddr::from(Ipv6Addr::from(self.array::<16>()?)).to_canonical()),
            _ => return Err(Stop::Answered("an unknown kind of address", Reply::AddressType)),
        };
        Ok((host, self.port()?))
    }
}

/// Our end of what was not opened.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
const UNKNOWN_COMMAND: Stop = Stop::Answered("an unknown command", Reply::Command);
const NO_HOST: &str = "a name that no host can have";

fn done<T>(bytes: &[u8], left: Bytes<'_>, read: Result<T, Stop>) -> Result<Option<(T, usize)>, Invalid> {
    match read {
        Ok(value) => Ok(Some((value, bytes.len() - left.0.len()))),
        Err(Stop::Partial) => Ok(None),
        Err(Stop::Wrong(reason)) => Err(wrong(reason)),
        Err(Stop::Answered(reason, reply)) => Err(Invalid { reason, reply: Some(reply) }),
    }
}

fn wrong(reason: &'static str) -> Invalid {
    Invalid { reason, reply: None }
}

fn write_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            out.push(1);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

#[cfg(test)]
mod tests;
