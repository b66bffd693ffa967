//! The story of one request, top to bottom.
//!
//! Pin a snapshot, admit the request, find its route, walk the policies, attempt the destination, walk the policies back,
//! relay, record. A fault anywhere becomes an answer. One edge leads back (a retry, inside [`attempt`]),
//! one skips ahead (an answer of our own).

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base::ids::RequestId;
use base::{Fault, Kind};
use http::Backlog;
use net::tls::Agreed;
use wire::coding::Coding;
use wire::grpc::{Code, Form};
use wire::head::Method;
use wire::{Head, Version, socks};

use crate::attempt::{self, Datagrams, Tunnel};
use crate::bandwidth;
use crate::canary;
use crate::capture::{self, Caught};
use crate::destination::{self, Place};
use crate::finish::{self, Account};
use crate::intercept::{self, Entrance};
use crate::lists::Hit;
use crate::mirror::{self, Copies};
use crate::policy::View;
use crate::pool::{Entry, Limit};
use crate::quota::{self, Meter};
use crate::relay::{Pump, Tolls};
use crate::route::{Captures, Said};
use crate::session::inside::Inside;
use crate::session::{Origin, Session};
use crate::snapshot::{Arm, Ending, Listener, Role, Route};
use crate::sticky::Stuck;
use crate::users::{self, User};
use crate::worker::Worker;
use crate::{pac, proof, reply};

mod admit;
mod find;
mod hops;
mod passage;
mod pinned;
mod prepare;
mod seen;

use admit::admit;
use find::find;
pub(crate) use find::find_at_once;
use hops::ends_here;
pub(crate) use passage::{choose, pass};
use passage::{elsewhere, tunnel};
pub(crate) use pinned::pin;
use prepare::{leaves_no_trace, limit_body, prepare};
pub(crate) use seen::seen;

/// What one request needs while it is under way. A worker keeps them and uses them again.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The request's head; from the policies on, as the server will see it.
    pub(crate) request: Head,
    /// The response's head.
    pub(crate) response: Head,
    /// The request's body on its way to the server.
    pub(crate) upload: Pump,
    /// Content of the request's body that was read before it was sent: a retry sends it again.
    pub(crate) prefix: Vec<u8>,
    /// Bytes that the client has not taken yet: interim responses, or an answer of our own.
    pub(crate) to_client: Backlog,
    /// What is known of the request.
    pub(crate) facts: Facts,
    /// What is noted for the record.
    pub(crate) notes: Notes,
    /// How the connection to the client goes on.
    pub(crate) client: ClientSide,
    /// Its place among the requests of a pool that limits them.
    pub(crate) entry: Option<Entry>,
    /// Its place among the requests of a pool that finds its limit, until the head of a response is here.
    pub(crate) permit: Option<Entry>,
    /// Its places among the texts that filters hold, until its client has what was held.
    pub(crate) places: Vec<crate::filter::Place>,
    /// Where copies of it go once it has been answered.
    pub(crate) copies: Option<Box<Copies>>,
    /// What holds both directions of a tunnel back, and counts them.
    pub(crate) tolls: Tolls,
    /// Who it is counted for, where there are quotas.
    pub(crate) meter: Option<Rc<Meter>>,
    /// What of it goes into an archive.
    pub(crate) caught: Option<Box<Caught>>,
    /// What leads to the server that it names, where it may name one.
    pub(crate) origin: Option<Arc<Arm>>,
    /// The server that it names, where a proxy leads on to it.
    pub(crate) beyond: Option<Rc<Place>>,
}

/// What is known of a request, for matching, templates and the record.
#[derive(Debug)]
pub struct Facts {
    pub(crate) id: RequestId,
    pub(crate) peer: SocketAddr,
    pub(crate) client: IpAddr,
    pub(crate) host: Vec<u8>,
    /// The port that it asks for, where clients name their servers.
    pub(crate) port: Option<u16>,
    pub(crate) path: Vec<u8>,
    pub(crate) query: Option<Vec<u8>>,
    pub(crate) captures: Captures,
    /// A page of another site has asked for it, where a policy wants to know.
    pub(crate) third_party: bool,
    pub(crate) websocket: bool,
    /// It asks for a server of UDP (RFC 9298).
    pub(crate) datagrams: bool,
    /// The form in which its client wants its answer, if it is a call of gRPC.
    pub(crate) call: Option<Form>,
    /// The time that it gives its call.
    pub(crate) timeout: Option<Duration>,
    /// The content coding that its client would have, where the route has any.
    pub(crate) wish: Option<Coding>,
    /// What TLS has agreed on, if it came over TLS.
    pub(crate) tls: Option<Rc<Agreed>>,
    /// The name that a flow asks for whose TLS ends elsewhere.
    pub(crate) sni: Option<Box<str>>,
    /// What a flow's client has said first of who it is.
    pub(crate) said: Option<Box<Said>>,
    /// The tunnel in which it has come, if it has.
    pub(crate) inside: Option<Rc<Inside>>,
    /// In which version of SOCKS it was asked for, if it was.
    pub(crate) socks: Option<socks::Version>,
    /// Where it goes whatever its client says, who knows of no proxy.
    pub(crate) led: Option<SocketAddr>,
    /// Who asks, where that is asked.
    pub(crate) user: Option<Arc<User>>,
    /// What it has shown of that ends here: servers do not see it.
    pub(crate) spent: bool,
}

/// How the connection to the client goes on.
#[derive(Debug)]
pub(crate) struct ClientSide {
    pub(crate) version: Version,
    /// The client would send another request.
    pub(crate) keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) awaits_continue: bool,
    /// It is a flow of TCP or UDP, which has no requests.
    pub(crate) is_flow: bool,
    /// The method was HEAD.
    pub(crate) head_only: bool,
    /// The first byte of the final response's head was given to the socket.
    pub(crate) answered: bool,
}

/// What is noted on the way, for the record.
#[derive(Debug)]
pub(crate) struct Notes {
    pub(crate) time: SystemTime,
    pub(crate) began: Instant,
    /// The same as `began` until the exchange has ended.
    pub(crate) ended: Instant,
    pub(crate) head: Option<Duration>,
    pub(crate) queue: Option<Duration>,
    /// How long it took to find out the addresses of a name.
    pub(crate) dns: Option<Duration>,
    pub(crate) connect: Option<Duration>,
    /// What TLS took of that.
    pub(crate) tls: Option<Duration>,
    /// When the last try began to send the request, and when the head of the response was here; that a tunnel stood, too.
    pub(crate) sent: Option<Instant>,
    pub(crate) answered: Option<Instant>,
    pub(crate) response: Option<Duration>,
    /// How long the try has waited for a response's head until its time was over.
    pub(crate) waited: Option<Duration>,
    pub(crate) status: u16,
    /// How the call has ended, if it is one of gRPC.
    pub(crate) call: Option<Code>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Datagrams from the client and to it, of a flow of UDP.
    pub(crate) datagrams: Option<(u64, u64)>,
    pub(crate) tries: u8,
    /// It counts among those of its pool.
    pub(crate) counted: bool,
    /// How many of the tries were no retries: those of further addresses, and those of ways before this one.
    pub(crate) free: u8,
    /// The way that it has taken, of those of its route.
    pub(crate) way: usize,
    /// How many of the tries were hedges.
    pub(crate) hedges: u8,
    pub(crate) reused: bool,
    /// An interim response has gone to the client.
    pub(crate) interim: bool,
    /// When the try that is under way has to have its response's head.
    pub(crate) until: Option<Instant>,
    pub(crate) cut: bool,
    pub(crate) fault: Option<Fault>,
    /// More about it, for its client as well.
    pub(crate) reason: &'static str,
    /// More about it, for whoever runs us.
    pub(crate) cause: Cow<'static, str>,
    /// Whether a tunnel was looked into, in a word; empty where nobody would.
    pub(crate) interception: &'static str,
    /// Why a filter has not read it and let it pass, in a word; empty if none has.
    pub(crate) unread: &'static str,
    /// The list or filter that has decided, and the rule.
    pub(crate) hit: Option<Hit>,
    /// The limit that it met last.
    pub(crate) limit: Option<Limit>,
    /// The pool and server of the last try, as indices into the route's arms and the pool's servers.
    pub(crate) arm: Option<usize>,
    /// The server that the client stays with.
    pub(crate) stuck: Option<Stuck>,
    pub(crate) server: Option<usize>,
    /// The number that a canary's client should keep; absent if it has one.
    pub(crate) cohort: Option<u32>,
    /// The request has chosen a canary's version for itself.
    pub(crate) forced: bool,
    /// Who the client has said it is, where that was not so.
    pub(crate) claimed: Option<Box<[u8]>>,
}

/// What becomes of the connection after an exchange.
pub(crate) enum After {
    /// It waits for the next request.
    KeepAlive,
    /// It closes.
    Close,
    /// It closes, but what the client still sends is read for a while, so that it can read our answer.
    Linger,
    /// It becomes a tunnel, which is recorded when it ends.
    Tunnel(Box<Tunnel>),
    /// It becomes a tunnel whose client ends TLS with us, and is recorded when that ends.
    Inside(Box<Entrance>),
    /// It becomes one for datagrams.
    Datagrams(Box<Datagrams>),
}

/// Serves one request whose head has been read.
pub(crate) async fn run(session: &mut Session, x: &mut Exchange) -> After {
    let pinned = pin(session);
    let mut route = &pinned.default;
    let after = match story(session, x, &pinned, &mut route).await {
        Ok(after) => after,
        Err(fault) => {
            capture::refused(session, x, &pinned, route);
            intercept::doubt(session, fault);
            reply::fault(session, x, route, fault).await
        }
    };
    if !matches!(after, After::Tunnel(_) | After::Datagrams(_) | After::Inside(_)) {
        let origin = x.origin.take();
        let account = Account::of(&pinned, route, &x.notes).through(origin.as_deref(), &x.notes);
        finish::record(&session.worker, x, &account);
    }
    mirror::release(session, x);
    after
}

async fn story<'a>(
    session: &mut Session,
    x: &mut Exchange,
    listener: &'a Listener,
    route: &mut &'a Arc<Route>,
) -> Result<After, Fault> {
    admit(session, x, listener)?;
    if let Some(proof) = proof::answer(session, x, listener) {
        return Ok(reply::respond(session, x, &listener.default, &proof).await);
    }
    if let Some(file) = pac::answer(session, x, listener)? {
        return Ok(reply::respond(session, x, &listener.default, &file).await);
    }
    capture::begin(session, x, listener, &listener.default);
    if let Some(ways) = &listener.users
        && let Some(asked) = Box::pin(users::settle(session, x, &listener.default, listener.role, ways)).await?
    {
        return Ok(asked);
    }
    *route = find(session, x, listener).await?;
    capture::begin(session, x, listener, route);
    for ways in &route.users {
        if let Some(asked) = Box::pin(users::settle(session, x, route, listener.role, ways)).await? {
            return Ok(asked);
        }
    }
    quota::begin(x, route)?;
    if let Some(bandwidth) = &route.bandwidth {
        Box::pin(bandwidth::begin(session, x, route, bandwidth)).await?;
    }
    x.facts.wish = route.compress.as_ref().and_then(|compress| compress.wish(&x.request));
    let origin;
    let arm = match &route.ending {
        Ending::Pools(arms) => choose(&session.worker, x, arms),
        Ending::Canary(canary) => canary::choose(session, x, canary),
        Ending::Ways(ways) => {
            origin = Box::pin(destination::lead(session, x, ways)).await?;
            &origin
        }
        Ending::Redirect(redirect) => return Ok(reply::redirect(session, x, route, redirect).await),
        // RFC 9110 section 9.3.6: to a CONNECT it would say that there is a tunnel.
        Ending::Respond(respond) if x.is_tunnel() && respond.status < 300 => {
            return Err(Fault::client(Kind::Denied));
        }
        Ending::Respond(respond) => return Ok(reply::respond(session, x, route, respond).await),
        Ending::Deny(deny) => return Ok(reply::deny(session, x, route, deny).await),
        Ending::NoRoute | Ending::Close { .. } => return Err(nowhere(x, listener)),
    };
    if x.facts.datagrams {
        if intercept::forbids_datagrams(listener, &x.facts.host) {
            x.notes.reason = intercept::DATAGRAMS;
            return Err(Fault::client(Kind::Denied));
        }
        if !destination::takes_datagrams(&route.ending) {
            x.notes.reason = destination::INDIRECT;
            return Err(Fault::client(Kind::Denied));
        }
        return Box::pin(attempt::open_datagrams(session, x, listener, route, arm)).await;
    }
    if x.request.method() == Method::Connect {
        return Box::pin(tunnel(session, x, listener, route, arm)).await;
    }
    limit_body(x, route)?;
    // Where no trace is left, nobody ends here who would have gone on to the server, and nobody is counted.
    if !leaves_no_trace(listener) && ends_here(x)? {
        quota::give_back(x.meter.take());
        return Ok(reply::last_hop(session, x, route).await);
    }
    prepare(session, x, listener, route)?;
    mirror::begin(session, x, route);
    let waits = canary::ask(&route.ending, x);
    let answered = attempt::attempt(session, x, route, arm).await;
    if let Some((state, variant)) = waits {
        state.settles(variant);
    }
    if let Err(fault) = answered
        && destination::has_another_way(x, route)
    {
        return Box::pin(elsewhere(session, x, listener, route, fault)).await;
    }
    attempt::deliver(session, x, listener, route, arm, answered?).await
}

/// No route: under TLS a host that none is for was meant for another connection (RFC 9110 section 15.5.20).
fn nowhere(x: &mut Exchange, listener: &Listener) -> Fault {
    match &listener.hosts {
        _ if listener.role == Role::Forward => Fault::client(Kind::Denied),
        Some(hosts) if x.facts.tls.is_some() && !hosts.has_host(&x.facts.host) => {
            x.notes.reason = "no site here has this host";
            Fault::client(Kind::Misdirected)
        }
        _ => Fault::client(Kind::NoRoute),
    }
}

impl Facts {
    /// What a copy of the request has in common with it.
    pub(crate) fn copy(&self) -> Facts {
        Facts {
            id: self.id,
            peer: self.peer,
            client: self.client,
            host: self.host.clone(),
            port: self.port,
            path: self.path.clone(),
            query: self.query.clone(),
            captures: Captures::default(),
            third_party: self.third_party,
            websocket: false,
            datagrams: false,
            call: None,
            timeout: None,
            wish: None,
            tls: self.tls.clone(),
            sni: self.sni.clone(),
            said: None,
            inside: self.inside.clone(),
            socks: None,
            led: None,
            user: self.user.clone(),
            spent: false,
        }
    }

    /// What templates may show of it.
    pub(crate) fn view<'a>(&'a self, head: &'a Head) -> View<'a> {
        View {
            head,
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            captures: &self.captures,
            client: self.client,
            peer: self.peer.ip(),
            id: self.id,
            tls: self.tls.as_deref(),
            sni: self.tls.as_ref().and_then(|tls| tls.name.as_deref()).or(self.sni.as_deref()),
            said: self.said.as_deref(),
            user: self.user.as_deref(),
        }
    }
}

impl Exchange {
    /// Whether it is for whatever its client says to the server that it names.
    pub(crate) fn is_tunnel(&self) -> bool {
        self.facts.datagrams || self.request.method() == Method::Connect
    }

    /// A request's head has been read; its first byte came at `first`, if not just now.
    pub(crate) fn began(&mut self, first: Option<Instant>) {
        let now = Instant::now();
        self.notes.time = SystemTime::now();
        self.notes.began = first.unwrap_or(now);
        self.notes.ended = self.notes.began;
        self.notes.head = first.map(|first| now - first);
    }

    /// It came on a connection of which no more is known than this.
    pub(crate) fn came(&mut self, worker: &Worker, origin: &Origin, tls: Option<&Rc<Agreed>>) {
        self.facts.id = worker.next_id();
        self.facts.peer = origin.peer.unwrap_or(NOBODY);
        self.facts.client = self.facts.peer.ip().to_canonical();
        self.facts.tls = tls.cloned();
    }

    /// When the exchange ended.
    pub(crate) fn ended_at(&self) -> Instant {
        self.notes.ended
    }

    /// Forgets everything and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.request.clear();
        self.response.clear();
        self.upload = Pump::default();
        if self.prefix.capacity() > 0 {
            self.prefix = Vec::new();
        }
        self.to_client = Backlog::default();
        self.facts.host.clear();
        self.facts.path.clear();
        self.facts.peer = NOBODY;
        self.facts.client = NOBODY.ip();
        (self.facts.query, self.facts.port) = (None, None);
        (self.facts.websocket, self.facts.datagrams, self.facts.third_party) = (false, false, false);
        (self.facts.tls, self.facts.sni, self.facts.said) = (None, None, None);
        (self.facts.socks, self.facts.led) = (None, None);
        (self.facts.inside, self.facts.user, self.facts.spent) = (None, None, false);
        self.facts.captures = Captures::default();
        (self.facts.call, self.facts.timeout, self.facts.wish) = (None, None, None);
        self.notes = Notes::of(self.notes.ended);
        self.client = ClientSide::default();
        (self.entry, self.permit, self.copies, self.caught) = (None, None, None, None);
        (self.tolls, self.meter) = (Tolls::default(), None);
        (self.origin, self.beyond, self.places) = (None, None, Vec::new());
    }
}

/// The other end of a connection that has no address: one on a Unix socket comes from this machine.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Default for Exchange {
    fn default() -> Exchange {
        Exchange {
            request: Head::default(),
            response: Head::default(),
            upload: Pump::default(),
            prefix: Vec::new(),
            to_client: Backlog::default(),
            facts: Facts {
                id: RequestId { origin: 0, sequence: 0 },
                peer: NOBODY,
                client: NOBODY.ip(),
                host: Vec::new(),
                port: None,
                path: Vec::new(),
                query: None,
                captures: Captures::default(),
                third_party: false,
                websocket: false,
                datagrams: false,
                call: None,
                timeout: None,
                wish: None,
                tls: None,
                sni: None,
                said: None,
                inside: None,
                socks: None,
                led: None,
                user: None,
                spent: false,
            },
            notes: Notes::of(Instant::now()),
            client: ClientSide::default(),
            entry: None,
            permit: None,
            places: Vec::new(),
            copies: None,
            tolls: Tolls::default(),
            meter: None,
            caught: None,
            origin: None,
            beyond: None,
        }
    }
}

impl Default for ClientSide {
    fn default() -> ClientSide {
        ClientSide {
            version: Version::H11,
            is_flow: false,
            keep_alive: false,
            awaits_continue: false,
            head_only: false,
            answered: false,
        }
    }
}

impl Notes {
    /// When it came, in seconds of Unix time.
    pub(crate) fn second(&self) -> u64 {
        self.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// Empty notes; the moment stands for those that will be noted.
    fn of(now: Instant) -> Notes {
        Notes {
            time: SystemTime::UNIX_EPOCH,
            began: now,
            ended: now,
            head: None,
            queue: None,
            dns: None,
            connect: None,
            tls: None,
            sent: None,
            answered: None,
            response: None,
            waited: None,
            status: 0,
            call: None,
            bytes_in: 0,
            bytes_out: 0,
            datagrams: None,
            tries: 0,
            counted: false,
            free: 0,
            way: 0,
            hedges: 0,
            reused: false,
            interim: false,
            until: None,
            cut: false,
            fault: None,
            reason: "",
            cause: Cow::Borrowed(""),
            interception: "",
            unread: "",
            hit: None,
            limit: None,
            arm: None,
            stuck: None,
            server: None,
            cohort: None,
            forced: false,
            claimed: None,
        }
    }
}
