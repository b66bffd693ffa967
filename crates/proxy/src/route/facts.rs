//! What a request shows to the table.

use std::net::IpAddr;

use net::tls::Alpn;
use wire::Head;
use wire::postgres::Startup;

use crate::users::User;

/// What a request shows to the table.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its head.
    pub head: &'a Head,
    /// Its host in normal form ([`wire::uri::host`]); empty if it has none.
    pub host: &'a [u8],
    /// Its path in normal form ([`wire::uri::normalize`]).
    pub path: &'a [u8],
    /// The client, as found past trusted proxies.
    pub client: IpAddr,
    /// The local port at which it arrived.
    pub port: u16,
    /// Whether its server is asked for by `https`.
    pub secure: bool,
    /// What kind of exchange it is.
    pub kind: Kind,
    /// The name that the client asked for in its handshake of TLS, in normal form; empty if it has asked for none.
    pub sni: &'a [u8],
    /// The protocol that was agreed on in that handshake; those that its client offers, where it is not ours.
    pub alpn: &'a [Alpn],
    /// SHA-256 of the certificate that the client has shown.
    pub fingerprint: Option<&'a [u8; 32]>,
    /// What its client has said first, if it is a flow of which that is known.
    pub said: Option<&'a Said>,
    /// Who asks, where that is known.
    pub user: Option<&'a User>,
    /// When it came, in seconds of Unix time.
    pub now: u64,
    /// What is known of its body.
    pub body: Body<'a>,
}

/// Protocols whose clients' first words tell who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// TLS, that ends elsewhere.
    Hello,
    /// PostgreSQL.
    Postgres,
    /// MQTT.
    Mqtt,
}

/// What a client has said first of who it is, in one of these protocols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// PostgreSQL.
    Postgres(Startup),
    /// MQTT: its identifier.
    Mqtt(Box<str>),
}

impl Said {
    /// Whom a client of PostgreSQL wants to be.
    pub fn postgres(&self) -> Option<&Startup> {
        match self {
            Said::Postgres(startup) => Some(startup),
            Said::Mqtt(_) => None,
        }
    }

    /// How a client of MQTT calls itself.
    pub fn mqtt(&self) -> Option<&str> {
        match self {
            Said::Mqtt(id) => Some(id),
            Said::Postgres(_) => None,
        }
    }
}

/// What kind of exchange a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything that is not another kind.
    Http,
    /// An upgrade to WebSocket.
    Websocket,
    /// A tunnel to a server: of what goes through it nothing is known.
    Tunnel,
    /// The same, asked for in SOCKS.
    Socks,
    /// A call of gRPC, also in the form for browsers.
    Grpc,
}

impl Kind {
    /// Whether nothing is known of what it carries.
    pub(crate) fn is_tunnel(self) -> bool {
        matches!(self, Kind::Tunnel | Kind::Socks)
    }
}

/// What is known of a request's body, transfer codings removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Nothing yet. A request that is known to have no body may stay here.
    Unread,
    /// It begins so.
    Prefix {
        /// The bytes read so far.
        bytes: &'a [u8],
        /// Whether they are the whole body.
        complete: bool,
    },
}
