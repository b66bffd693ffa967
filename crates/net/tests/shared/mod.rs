//! What must hold of an address of QUIC for any datagrams: shared by the property tests and the fuzz target.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{ClientConfig, DatagramEvent, EndpointConfig, TransportConfig};
use rustls::RootCertStore;
use tidegate_net::quic::{Bound, Caller, Connection, Endpoint, Host, Server, Terms, Verdict, bind};
use tidegate_net::tls::{ClientCert, Identity, Oldest, Spoken, Terminator};

/// Bytes as datagrams to an address of two workers: some that nobody has made, some of clients, whole, cut, changed, twice. Nothing
/// panics, no more connections begin than clients have asked for, and who comes after all that is served.
pub(crate) fn datagrams(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(1).build();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime.expect("a runtime"), async {
        let (address, sockets) = place();
        let desk = Rc::new(Desk::default());
        let mut endpoints = Vec::new();
        for bound in sockets {
            let (endpoint, driver) = Endpoint::open(bound).expect("an endpoint");
            tokio::task::spawn_local(driver.run(At(Rc::clone(&desk))));
            endpoints.push(endpoint);
        }
        let mut clients = vec![Client::new(address)];
        let mut last = Vec::new();
        for act in bytes.chunks(5) {
            let [what, which, a, b, c] = [0, 1, 2, 3, 4].map(|at| act.get(at).copied().unwrap_or(0));
            let count = clients.len();
            let client = &mut clients[usize::from(which) % count];
            let at = usize::from(a) << 8 | usize::from(b);
            match what % 9 {
                0 => client.send(&bytes[at.min(bytes.len())..]),
                1 => drop(client.speak().into_iter().map(|said| client.send(&said)).count()),
                2 | 3 => {
                    for mut said in client.speak() {
                        let length = said.len();
                        said[at % length] ^= c | 1;
                        client.send(&said);
                        last = said;
                    }
                }
                4 => {
                    for said in client.speak() {
                        client.send(&said[..at % said.len()]);
                        last = said;
                    }
                }
                5 => client.send(&last),
                6 if last.len() > 24 => {
                    // Another id, in the place of a short header or a long one.
                    let from = if last[0] & 0x80 == 0 { 1 } else { 6 };
                    last[from + usize::from(c % 16)] ^= b | 1;
                    client.send(&last);
                }
                7 if count < 4 => clients.push(Client::new(address)),
                _ => desk.verdict.set(which),
            }
            for client in &mut clients {
                turn().await;
                client.hear();
            }
            let connections: usize = endpoints.iter().map(Endpoint::connections).sum();
            assert!(connections <= desk.accepted.get(), "a connection that nobody has accepted");
        }
        desk.verdict.set(0);
        let mut late = Client::new(address);
        let began = Instant::now();
        while late.connection.is_handshaking() {
            assert!(began.elapsed() < Duration::from_secs(20), "who comes after is not served");
            for said in late.speak() {
                late.send(&said);
            }
            turn().await;
            late.hear();
        }
    });
}

/// An address that nobody has, with a socket for each of two workers. The kernel names the port, and somebody may be faster.
fn place() -> (SocketAddr, Vec<Bound>) {
    loop {
        let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("an address");
        if let Ok(sockets) = bind(free, 2, false) {
            return (free, sockets);
        }
    }
}

/// Lets the drivers have their turn, and the kernel.
async fn turn() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

#[derive(Default)]
struct Desk {
    verdict: Cell<u8>,
    accepted: Cell<usize>,
    begun: RefCell<Vec<Connection>>,
}

struct At(Rc<Desk>);

impl Host for At {
    fn decide(&self, caller: &Caller) -> Verdict {
        match self.0.verdict.get() % 6 {
            3 if !caller.proven => Verdict::Retry,
            4 => Verdict::Refuse,
            5 => Verdict::Ignore,
            _ => {
                self.0.accepted.set(self.0.accepted.get() + 1);
                Verdict::Accept(configs().0.clone())
            }
        }
    }

    fn begun(&self, connection: Connection) {
        self.0.begun.borrow_mut().push(connection);
    }
}

/// A client of the library's, with its state in hand: what it says can be changed before it is sent.
struct Client {
    socket: UdpSocket,
    address: SocketAddr,
    endpoint: quinn_proto::Endpoint,
    handle: quinn_proto::ConnectionHandle,
    connection: quinn_proto::Connection,
}

impl Client {
    fn new(address: SocketAddr) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let mut endpoint = quinn_proto::Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        let (handle, connection) =
            endpoint.connect(Instant::now(), configs().1.clone(), address, "example.com").expect("a connection");
        Client { socket, address, endpoint, handle, connection }
    }

    /// What it has to say now.
    fn speak(&mut self) -> Vec<Vec<u8>> {
        let now = Instant::now();
        if self.connection.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.connection.handle_timeout(now);
        }
        let mut said = Vec::new();
        let mut room = Vec::new();
        while said.len() < 8
            && let Some(transmit) = self.connection.poll_transmit(now, 1, &mut room)
        {
            said.push(room[..transmit.size].to_vec());
            room.clear();
        }
        said
    }

    fn send(&self, datagram: &[u8]) {
        // What the kernel does not take is lost.
        let _ = self.socket.send_to(datagram, self.address);
    }

    fn hear(&mut self) {
        let mut block = [0; 2048];
        while let Ok(count) = self.socket.recv(&mut block) {
            let mut room = Vec::new();
            let bytes = bytes::BytesMut::from(&block[..count]);
            let event = self.endpoint.handle(Instant::now(), self.address, None, None, bytes, &mut room);
            if let Some(DatagramEvent::ConnectionEvent(handle, event)) = event
                && handle == self.handle
            {
                self.connection.handle_event(event);
            }
        }
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.connection.handle_event(event);
            }
        }
        while self.connection.poll().is_some() {}
    }
}

/// What both sides are by, made once: a certificate takes longer than the rest.
fn configs() -> &'static (Server, ClientConfig) {
    static CONFIGS: OnceLock<(Server, ClientConfig)> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let issued = rcgen::generate_simple_self_signed(["example.com".to_owned()]).expect("a certificate");
        let (chain, key) = (issued.cert.pem(), issued.signing_key.serialize_pem());
        let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).expect("an identity");
        let spoken = Spoken::since(Oldest::Tls13);
        let terminator = Terminator::new(&[(identity, true)], &spoken, &ClientCert::Off, &[], None, None);
        let terms = Terms { idle: Duration::from_secs(30), streams: 16, early_data: false, datagrams: false };
        let server = Server::new(&terminator.expect("a terminator"), &terms).expect("a server");
        let mut roots = RootCertStore::empty();
        roots.add(issued.cert.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("a version");
        let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a suite")));
        let mut transport = TransportConfig::default();
        // Who is not heard asks again soon: nothing is far away here.
        transport.initial_rtt(Duration::from_millis(5));
        client.transport_config(Arc::new(transport));
        (server, client)
    })
}
