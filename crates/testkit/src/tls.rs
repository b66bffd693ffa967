//! TLS for scripted clients and servers: both sides of a session, and what it agreed on.
//!
//! The program under test uses the same library; what is tested here is what it does with it. Real clients of another
//! making (curl, openssl) stand beside these in the tests.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, SupportedProtocolVersion,
};

use crate::authority::{Authority, Issued};

/// How a client speaks TLS. Clones remember sessions together.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: String,
    noting: Arc<Noting>,
}

/// Judges servers as usual, and notes what was stapled to the last one's certificate.
#[derive(Debug)]
struct Noting {
    judge: Arc<WebPkiServerVerifier>,
    stapled: Mutex<Vec<u8>>,
}

/// How a server speaks TLS.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
}

/// What a client is made of, where a test wants it other than usual.
#[derive(Clone, Debug, Default)]
pub struct Wishes<'a> {
    /// Only this version.
    pub version: Option<&'static SupportedProtocolVersion>,
    /// What it shows if it is asked.
    pub shows: Option<&'a Issued>,
    /// The kind of signatures that it understands: all whose name begins so.
    pub signatures: Option<&'static str>,
    /// The key exchange that it offers.
    pub exchange: Option<&'static dyn SupportedKxGroup>,
    /// The protocols that it offers (RFC 7301), by their registered names.
    pub protocols: &'a [&'a str],
}

/// What a session has agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1_2`, `TLSv1_3`.
    pub version: String,
    /// The cipher suite: `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The key exchange: `X25519MLKEM768`, `X25519`.
    pub exchange: String,
    /// Whether a former session was resumed.
    pub resumed: bool,
    /// The peer's certificate in DER; empty if it has shown none.
    pub shown: Vec<u8>,
    /// The name that the client asked a server for.
    pub name: Option<String>,
    /// The protocol, by its registered name.
    pub alpn: Option<String>,
}

/// A session on its socket. The handshake is gone through when something is first read or written.
#[derive(Debug)]
pub struct Secured {
    pub(crate) stream: TcpStream,
    connection: Connection,
}

impl ClientTls {
    /// The same for QUIC, with requests before the end of the handshake where the server allows them.
    pub(crate) fn for_quic(&self) -> (ClientConfig, &str) {
        let mut config = (*self.config).clone();
        config.alpn_protocols = vec![b"h3".to_vec()];
        config.enable_early_data = true;
        (config, &self.name)
    }

    /// A client that trusts this authority and asks for this name.
    pub fn new(authority: &Authority, name: &str) -> ClientTls {
        ClientTls::with(authority, name, &Wishes::default())
    }

    /// The same with wishes.
    ///
    /// # Panics
    /// They cannot be granted.
    pub fn with(authority: &Authority, name: &str, wishes: &Wishes<'_>) -> ClientTls {
        ClientTls::trusting(authority.pem(), name, wishes)
    }

    /// The same for an authority whose certificate is this, in PEM.
    ///
    /// # Panics
    /// It is none, or the wishes cannot be granted.
    pub fn trusting(authority: &str, name: &str, wishes: &Wishes<'_>) -> ClientTls {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(kind) = wishes.signatures {
            provider.signature_verification_algorithms = only(provider.signature_verification_algorithms, kind);
        }
        if let Some(exchange) = wishes.exchange {
            provider.kx_groups = vec![exchange];
        }
        let versions = match &wishes.version {
            Some(version) => std::slice::from_ref(version),
            None => rustls::ALL_VERSIONS,
        };
        let provider = Arc::new(provider);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(versions).expect("versions");
        let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(authority)), Arc::clone(&provider));
        let judge = judge.build().expect("an authority");
        let noting = Arc::new(Noting { judge, stapled: Mutex::default() });
        let verifier: Arc<dyn ServerCertVerifier> = noting.clone();
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match wishes.shows {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let (chain, key) = parts(issued);
                builder.with_client_auth_cert(chain, key).expect("a certificate")
            }
        };
        config.alpn_protocols = wishes.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        ClientTls { config: Arc::new(config), name: name.to_owned(), noting }
    }

    /// A client that takes whatever it is shown, and offers these protocols.
    ///
    /// # Panics
    /// The library is not what it was.
    pub fn of_anybody(name: &str, protocols: &[&str]) -> ClientTls {
        let tls = ClientTls::with(&Authority::new(), name, &Wishes { protocols, ..Wishes::default() });
        let mut config = (*tls.config).clone();
        config.dangerous().set_certificate_verifier(Arc::new(Credulous(Arc::clone(&tls.noting.judge))));
        ClientTls { config: Arc::new(config), ..tls }
    }

    /// What was stapled to the certificate of the last server.
    pub fn stapled(&self) -> Vec<u8> {
        self.noting.stapled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same for another name; sessions are remembered together.
    pub fn named(&self, name: &str) -> ClientTls {
        ClientTls { name: name.to_owned(), ..self.clone() }
    }

    pub(crate) fn connect(&self, stream: TcpStream) -> io::Result<Secured> {
        let name = ServerName::try_from(self.name.clone()).expect("a name");
        let connection = ClientConnection::new(Arc::clone(&self.config), name).expect("a session");
        let mut secured = Secured { stream, connection: connection.into() };
        secured.handshake()?;
        Ok(secured)
    }
}

impl ServerTls {
    /// A server that shows this.
    pub fn new(issued: &Issued) -> ServerTls {
        ServerTls::build(issued, None, rustls::ALL_VERSIONS)
    }

    /// A server that speaks one version.
    pub fn only(issued: &Issued, version: &'static SupportedProtocolVersion) -> ServerTls {
        ServerTls::build(issued, None, &[version])
    }

    /// A server that also wants to see certificates of this authority's.
    pub fn asking(issued: &Issued, authority: &Authority) -> ServerTls {
        ServerTls::build(issued, Some(authority), rustls::ALL_VERSIONS)
    }

    /// The same for these protocols alone (RFC 7301), by their registered names.
    #[must_use]
    pub fn speaking(&self, protocols: &[&str]) -> ServerTls {
        let mut config = (*self.config).clone();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        ServerTls { config: Arc::new(config) }
    }

    /// The same, counting the sessions that clients resume.
    #[must_use]
    pub fn counting(&self) -> (ServerTls, Arc<AtomicUsize>) {
        let mut config = (*self.config).clone();
        let resumed = Arc::<AtomicUsize>::default();
        config.session_storage =
            Arc::new(Counting { kept: ServerSessionMemoryCache::new(64), resumed: Arc::clone(&resumed) });
        (ServerTls { config: Arc::new(config) }, resumed)
    }

    /// The same for QUIC, by this protocol.
    pub(crate) fn for_quic(&self, protocol: &str) -> ServerConfig {
        (*self.speaking(&[protocol]).config).clone()
    }

    fn build(
        issued: &Issued,
        clients: Option<&Authority>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerTls {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::<CryptoProvider>::clone(&provider));
        let builder = builder.with_protocol_versions(versions).expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority.pem())), provider)
                    .build()
                    .expect("an authority"),
            ),
        };
        let (chain, key) = parts(issued);
        ServerTls { config: Arc::new(builder.with_single_cert(chain, key).expect("a certificate")) }
    }

    pub(crate) fn accept(&self, stream: TcpStream) -> Secured {
        let connection = ServerConnection::new(Arc::clone(&self.config)).expect("a session");
        Secured { stream, connection: connection.into() }
    }
}

impl Secured {
    /// What was agreed on.
    pub fn agreed(&self) -> Agreed {
        let shown = self.connection.peer_certificates().and_then(<[_]>::first);
        Agreed {
            version: format!("{:?}", self.connection.protocol_version().expect("a handshake that is done")),
            cipher: self
                .connection
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite()))
                .unwrap_or_default(),
            exchange: self
                .connection
                .negotiated_key_exchange_group()
                .map(|group| format!("{:?}", group.name()))
                .unwrap_or_default(),
            resumed: self.connection.handshake_kind() == Some(HandshakeKind::Resumed),
            shown: shown.map(|shown| shown.to_vec()).unwrap_or_default(),
            name: match &self.connection {
                Connection::Server(server) => server.server_name().map(str::to_owned),
                Connection::Client(_) => None,
            },
            alpn: self.connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        }
    }

    /// Asks the peer for new keys, both ways (RFC 8446 section 4.6.3).
    pub(crate) fn refresh_keys(&mut self) -> io::Result<()> {
        self.connection.refresh_traffic_keys().map_err(io::Error::other)?;
        self.send()
    }

    /// Says that nothing more will be written, as TLS wants it.
    pub(crate) fn finish(&mut self) {
        self.connection.send_close_notify();
        // The peer may be gone already, which says the same.
        let _ = self.send();
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub(crate) fn handshake(&mut self) -> io::Result<()> {
        while self.connection.is_handshaking() {
            self.send()?;
            if self.connection.is_handshaking() {
                self.receive()?;
            }
        }
        self.send()
    }

    fn receive(&mut self) -> io::Result<()> {
        let received = self.connection.read_tls(&mut self.stream)?;
        let judged = self.connection.process_new_packets();
        let sent = self.send();
        judged.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if received == 0 && self.connection.is_handshaking() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        sent
    }

    fn send(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.stream)?;
        }
        Ok(())
    }
}

impl Read for Secured {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.receive()?,
                done => return done,
            }
        }
    }
}

impl Write for Secured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.handshake()?;
        let written = self.connection.writer().write(bytes)?;
        self.send()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// Remembers sessions, and how many were asked for again.
#[derive(Debug)]
struct Counting {
    kept: Arc<ServerSessionMemoryCache>,
    resumed: Arc<AtomicUsize>,
}

impl StoresServerSessions for Counting {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.kept.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.kept.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let taken = self.kept.take(key)?;
        self.resumed.fetch_add(1, Ordering::SeqCst);
        Some(taken)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Believes everything: what is critical in a proof of a domain is nothing that the library knows, and it would refuse it.
#[derive(Debug)]
struct Credulous(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _shown: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.stapled.lock().unwrap_or_else(PoisonError::into_inner) = ocsp.to_vec();
        self.judge.verify_server_cert(shown, between, name, &[], now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge.verify_tls12_signature(message, shown, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge.verify_tls13_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

/// A certificate as it goes over the wire.
///
/// # Panics
/// It is none.
pub fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate").to_vec()
}

fn roots(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("an authority")).expect("an authority");
    roots
}

fn parts(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(issued.cert.as_bytes()).collect::<Result<_, _>>().expect("a chain");
    (chain, PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key"))
}

/// Those algorithms whose scheme's name begins so.
fn only(all: WebPkiSupportedAlgorithms, kind: &str) -> WebPkiSupportedAlgorithms {
    let wanted = |scheme: &SignatureScheme| format!("{scheme:?}").starts_with(kind);
    let mapping: Vec<_> = all.mapping.iter().filter(|(scheme, _)| wanted(scheme)).copied().collect();
    // Tests are short: what is leaked here ends with them.
    WebPkiSupportedAlgorithms { all: all.all, mapping: Vec::leak(mapping) }
}
