//! The one way out: every outbound connection of the process is made here.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use wire::mysql::{self, Greeting};
use wire::parent::{Refusal, Step, connect, socks5};
use wire::starttls::{self, Guest, greeting, guest};

use crate::Address;
use crate::quic;
use crate::stream::Stream;
use crate::tls::Originator;

/// TLS on the way to a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Security {
    /// Whom we believe.
    pub originator: Originator,
    /// The name that the server's certificate must be for.
    pub name: Box<str>,
    /// The protocol inside of which it begins; at once if absent. With MySQL a dial comes as far as a server's offer of it.
    pub starttls: Option<starttls::Protocol>,
    /// Whether a server that has none inside of it is spoken to in plain.
    pub lets_plain: bool,
}

/// What a connection should be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// What is said before anything else.
    pub prologue: &'a [u8],
    /// TLS, if it is wanted.
    pub security: Option<&'a Security>,
    /// Whose address the server shall see in the place of the one that the system chooses.
    pub source: Option<Source>,
    /// The protocol of a client that has been greeted already: the server's greeting is taken off. That of MySQL is kept, for nobody
    /// else can make it.
    pub greeted: Option<starttls::Protocol>,
    /// How such a client has introduced itself to us, if the server has to hear that.
    pub hello: &'a [u8],
}

/// Whose address a connection has at our end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// One of this host's.
    Ours(IpAddr),
    /// Somebody else's.
    Theirs(IpAddr),
}

/// How a proxy is asked to connect us to somebody else.
#[derive(Clone, Copy, Debug)]
pub enum Through<'a> {
    /// By this request, which is a CONNECT.
    Connect(&'a [u8]),
    /// By SOCKS 5.
    Socks5(socks5::Asked<'a>),
}

/// A connection to a server.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub stream: Stream,
    /// What the server said before TLS that its client has still to hear. If the server's TLS begins inside of MySQL, it has not yet.
    pub greeting: Vec<u8>,
    /// How long the handshake of TLS took, if there was one.
    pub tls: Option<Duration>,
}

/// Connects to a server, says what is to be said before anything else, and makes the connection a secured one if that is wanted. The
/// caller bounds the time.
///
/// # Errors
/// What the kernel says; `InvalidData` if it is TLS that failed; [`Unwelcome`] if its greeting is none that lets us go on.
pub async fn dial(address: &Address, call: &Call<'_>) -> io::Result<Dialled> {
    let mut stream = match address {
        Address::Tcp(address) => {
            let stream = match call.source {
                None => TcpStream::connect(address).await?,
                Some(Source::Ours(source)) => Box::pin(connect_from(source, *address)).await?,
                Some(Source::Theirs(source)) => Box::pin(connect_as(source, *address)).await?,
            };
            stream.set_nodelay(true)?;
            Stream::Tcp(stream)
        }
        Address::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix)?,
    };
    stream.write_all(call.prologue).await?;
    // Boxed: most connections are plain and begin without a word, and their futures should stay small.
    let (mut greeting, mut tls, mut is_plain) = (Vec::new(), 0, false);
    if let Some(security) = call.security {
        match security.starttls {
            None => {}
            Some(starttls::Protocol::Mysql) => {
                let greeting = Box::pin(greeted(&mut stream, true)).await?;
                return Ok(Dialled { stream, greeting, tls: None });
            }
            Some(protocol) => {
                (greeting, is_plain) = Box::pin(begin(&mut stream, protocol, security.lets_plain)).await?;
            }
        }
        if !is_plain {
            (stream, tls) = Box::pin(secured(stream, security)).await?;
        }
    }
    match call.greeted {
        None => {}
        Some(starttls::Protocol::Mysql) => greeting = Box::pin(greeted(&mut stream, false)).await?,
        Some(protocol) => {
            if greeting.is_empty() {
                Box::pin(welcomed(&mut stream, protocol)).await?;
            }
            greeting.clear();
            if !call.hello.is_empty() {
                Box::pin(introduced(&mut stream, call.hello)).await?;
            }
        }
    }
    let tls = (tls > 0).then(|| Duration::from_micros(tls.into()));
    Ok(Dialled { stream, greeting, tls })
}

/// Begins TLS; answers how long that took, too, in microseconds, of which there is at least one.
async fn secured(stream: Stream, security: &Security) -> io::Result<(Stream, u32)> {
    let began = Instant::now();
    let stream = security.originator.connect(stream, &security.name).await?;
    Ok((stream, u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX).max(1)))
}

/// Asks a proxy that we are connected to to lead us on to somebody else; answers what that one has said already. The caller bounds the
/// time.
///
/// # Errors
/// What the kernel says; a [refusal], if that is the proxy's answer; `InvalidInput` if it is none.
pub async fn lead_on(stream: &mut Stream, through: Through<'_>) -> io::Result<Vec<u8>> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("no answer of a proxy: {why}"));
    let (mut heard, mut said) = (Vec::new(), Vec::new());
    let mut by_connect = connect::Talk::default();
    let mut by_socks = match through {
        Through::Socks5(asked) => Some(socks5::Talk::new(asked)),
        Through::Connect(request) => {
            said.extend_from_slice(request);
            None
        }
    };
    if let Some(talk) = &by_socks {
        talk.open(&mut said);
    }
    loop {
        stream.write_all(&said).await?;
        said.clear();
        if !read(stream, &mut heard).await? {
            return Err(bad("it closed the connection"));
        }
        let step = match &mut by_socks {
            Some(talk) => talk.hear(&mut heard, &mut said),
            None => by_connect.hear(&mut heard),
        };
        match step {
            // Either conversation says so itself before this is much.
            Step::More => {}
            Step::Connected => return Ok(heard),
            Step::Refused(refusal) => return Err(io::Error::new(io::ErrorKind::PermissionDenied, refusal)),
            Step::Bad(why) => return Err(bad(why)),
        }
    }
}

/// How a proxy has refused to connect us, if that is what this error is.
pub fn refusal(error: &io::Error) -> Option<Refusal> {
    error.get_ref()?.downcast_ref().copied()
}

/// What a server has said first that does not welcome us, whoever we come for.
#[derive(Debug)]
pub struct Unwelcome(String);

impl fmt::Display for Unwelcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server does not welcome us: {}", self.0)
    }
}

impl std::error::Error for Unwelcome {}

impl Unwelcome {
    /// Whether a dial has failed by this.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Unwelcome>())
    }
}

fn unwelcome(said: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, Unwelcome(said.into()))
}

/// Why a connect has failed, in a few words for a log.
pub fn cause(error: &io::Error) -> Cow<'static, str> {
    if error.get_ref().is_some() {
        return error.to_string().into();
    }
    Cow::Borrowed(match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::TimedOut => "no answer in time",
        io::ErrorKind::HostUnreachable => "no route to the host",
        io::ErrorKind::NetworkUnreachable => "the network is unreachable",
        io::ErrorKind::NetworkDown => "the network is down",
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            "the connection was reset"
        }
        io::ErrorKind::UnexpectedEof => "the connection was closed",
        io::ErrorKind::NotFound => "there is no such socket",
        io::ErrorKind::PermissionDenied => "not permitted, by this host's firewall or the socket's mode",
        io::ErrorKind::AddrNotAvailable => "there is no port or address to connect from",
        io::ErrorKind::AddrInUse => "all ports to connect from are in use",
        _ if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => "there are no descriptors left",
        _ => return error.to_string().into(),
    })
}

/// Connects with an address of this host's. An address that is not there any more is a shortage of ours.
async fn connect_from(source: IpAddr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    bind(&socket, source)?;
    TcpSocket::from_std_stream(socket.into()).connect(server).await
}

/// Gives a socket its address. The port is found when it is known for which server, since only both together have to be free.
fn bind(socket: &Socket, source: IpAddr) -> io::Result<()> {
    // The flag serves both families.
    nix::sys::socket::setsockopt(socket, sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::new(source, 0).into())
}

/// Whether an address is this host's, so that connections can be made with it.
///
/// # Errors
/// What the kernel says.
pub fn may_be_source(source: IpAddr) -> io::Result<()> {
    let domain = Domain::for_address(SocketAddr::new(source, 0));
    bind(&Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?, source)
}

/// Connects with the address of somebody else. Where that cannot be had, or leads nowhere, the error is one of
/// [ours](is_shortage): clients choose their addresses, and a server should not be taken for a broken one by their choice.
async fn connect_as(source: IpAddr, server: SocketAddr) -> io::Result<TcpStream> {
    const EINVAL: i32 = 22;
    let unusable = || io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let socket = transparent(source, server)?.ok_or_else(unusable)?;
    socket.connect(server).await.map_err(|error| match error.raw_os_error() {
        // There is no way from this address to that one.
        Some(EINVAL) => unusable(),
        _ => error,
    })
}

/// A socket that has the address of somebody else; nothing if that is an address that cannot be shown to this server.
fn transparent(source: IpAddr, address: SocketAddr) -> io::Result<Option<TcpSocket>> {
    let (source, server) = (source.to_canonical(), address.ip().to_canonical());
    // What comes from a loopback address does not leave its machine, or is thrown away by the next one.
    if source.is_ipv4() != server.is_ipv4() || (source.is_loopback() && !server.is_loopback()) {
        return Ok(None);
    }
    let socket = foreign(Domain::for_address(address))?;
    // An IPv4 address stays one on the socket of an IPv6 one.
    let source = match (address, source) {
        (SocketAddr::V6(_), IpAddr::V4(v4)) => IpAddr::V6(v4.to_ipv6_mapped()),
        (_, source) => source,
    };
    let bound = bind(&socket, source);
    Ok(bound.is_ok().then(|| TcpSocket::from_std_stream(socket.into())))
}

/// A socket that may have any address.
fn foreign(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    // One flag serves both families.
    socket.set_ip_transparent_v4(true)?;
    Ok(socket)
}

/// Whether this process may connect with addresses of others, which takes `CAP_NET_ADMIN` or `CAP_NET_RAW`.
///
/// # Errors
/// It may not.
pub fn may_be_transparent() -> io::Result<()> {
    foreign(Domain::IPV4).map(drop)
}

/// Comes to where TLS begins, or does not, if the server has none and need not have any. Answers what a client is told that has not been
/// greeted, and whether it goes on in plain.
async fn begin(stream: &mut Stream, protocol: starttls::Protocol, lets_plain: bool) -> io::Result<(Vec<u8>, bool)> {
    let bad = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut guest = Guest::new(protocol).letting_plain(lets_plain);
    let (mut heard, mut said) = (Vec::new(), Vec::new());
    guest.open(&mut said);
    loop {
        stream.write_all(&said).await?;
        said.clear();
        if !read(stream, &mut heard).await? {
            return Err(bad("the server ended before TLS began".to_owned()));
        }
        let begins = guest.hear(&mut heard, &mut said).map_err(|why| {
            if guest.is_greeted() || greeting::says_logged_in(&why) { bad(why) } else { unwelcome(why) }
        })?;
        if begins {
            return Ok((guest.greeting(), guest.is_plain()));
        }
        if heard.len() > guest::MOST {
            return Err(bad("an answer without an end".to_owned()));
        }
    }
}

/// The greeting of a server of MySQL; of one that has TLS, if that is wanted.
async fn greeted(stream: &mut Stream, secure: bool) -> io::Result<Vec<u8>> {
    let bad = |error: &str| match secure {
        true => io::Error::new(io::ErrorKind::InvalidData, error),
        false => unwelcome(error),
    };
    let mut heard = Vec::new();
    loop {
        if !read(stream, &mut heard).await? {
            return Err(bad(if secure { "the server ended before TLS began" } else { CLOSED }));
        }
        match mysql::greeting(&heard) {
            Greeting::Partial => {}
            Greeting::Refusal(length) => return Err(unwelcome(mysql::why_refused(&heard[..length.min(heard.len())]))),
            Greeting::Insecure(_) | Greeting::Other if secure => return Err(bad("the server has no TLS")),
            Greeting::Secure(length) | Greeting::Insecure(length) if length == heard.len() => return Ok(heard),
            // It is the client's turn: what follows would have been put there by somebody else.
            Greeting::Secure(_) | Greeting::Insecure(_) => return Err(bad("bytes in plain where TLS should begin")),
            Greeting::Other => return Err(bad(NO_GREETING)),
        }
    }
}

const CLOSED: &str = "it closes the connection without a greeting";
const NO_GREETING: &str = "what it says first is no greeting";

/// Takes the greeting off.
async fn welcomed(stream: &mut Stream, protocol: starttls::Protocol) -> io::Result<()> {
    let mut heard = Vec::new();
    loop {
        if !read(stream, &mut heard).await? {
            return Err(unwelcome(CLOSED));
        }
        match greeting::read(protocol, &heard) {
            // It is the client's turn: more than a greeting would answer nothing.
            Ok(Some(length)) if length == heard.len() => return Ok(()),
            Ok(Some(_)) => return Err(unwelcome("it goes on behind its greeting")),
            Ok(None) => {}
            Err(said) => return Err(unwelcome(said)),
        }
    }
}

/// Says how the client has introduced itself, and takes off what is answered: it has had an answer.
async fn introduced(stream: &mut Stream, hello: &[u8]) -> io::Result<()> {
    stream.write_all(hello).await?;
    let mut heard = Vec::new();
    loop {
        match greeting::accepted(&heard) {
            Ok(Some(length)) if length == heard.len() => return Ok(()),
            Ok(Some(_)) => return Err(unwelcome("it goes on behind its answer to the client's name")),
            Ok(None) if read(stream, &mut heard).await? => {}
            Ok(None) => return Err(unwelcome("it closes the connection at the client's name")),
            Err(said) => return Err(unwelcome(said)),
        }
    }
}

/// Reads once; answers whether there was anything.
async fn read(stream: &mut Stream, heard: &mut Vec<u8>) -> io::Result<bool> {
    let mut block = [0; 1024];
    let length = poll_fn(|cx| stream.poll_read(cx, &mut block)).await?;
    heard.extend_from_slice(&block[..length]);
    Ok(length > 0)
}

/// The same over QUIC. Whoever gets the connection polls what makes it go, from then on. The caller bounds the time.
///
/// # Errors
/// What the kernel says of the way there; `InvalidData` if it is TLS that failed; `Unsupported` if what is there has no port, or
/// nothing was settled for QUIC.
pub async fn dial_quic(address: &Address, security: Option<&Security>) -> io::Result<(quic::Connection, quic::Driver)> {
    let client = security.and_then(|security| Some((security.originator.quic()?, &security.name)));
    let (Address::Tcp(to), Some((client, name))) = (address, client) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let (connection, mut driver) = client.begin(*to, name)?;
    let mut room = vec![0; quic::LEAST_ROOM];
    poll_fn(|cx| {
        let _ = driver.poll(cx, &mut room);
        connection.poll_established(cx, false)
    })
    .await?;
    Ok((connection, driver))
}

const EADDRNOTAVAIL: i32 = 99;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// Whether a connect failed for want of descriptors or ports of ours, or because a client's address is of no use for it, which says nothing of the server.
pub fn is_shortage(error: &io::Error) -> bool {
    const EADDRINUSE: i32 = 98;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | EADDRINUSE | EADDRNOTAVAIL))
}
