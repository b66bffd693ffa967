//! A flow of MySQL: its server speaks first, and TLS begins once its client has heard that. Where both sides have it, the client's question
//! for it goes on to the server, so that both count their packets alike and send passwords as under TLS. Where one side has it, packets get
//! other numbers on the other until the client has logged in.

use std::borrow::Cow;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use base::{Fault, Kind, Retry, Side};
use http::Conn;
use net::timer::Timer;
use net::tls::{Agreed, doubt};
use wire::mysql::{self, Answer, Login, SSL_REQUEST};
use wire::starttls::Protocol;

use super::closing::linger;
use super::{Session, stream, tunnel};
use crate::attempt::{self, Tunnel};
use crate::exchange::Exchange;
use crate::finish;
use crate::pool::Server;
use crate::snapshot::Tls;
use crate::worker::Worker;

/// Serves a flow whose TLS begins here until it ends.
pub(super) async fn serve(mut session: Session, tls: Tls) {
    let mut x = stream::begun(&session);
    let Some(flow) = stream::connected(&mut session, &mut x).await else { return session.worker.recycle(x) };
    go_on(session, x, flow, Some(tls)).await;
}

/// The server of a flow, if TLS with it begins inside of MySQL.
pub(super) fn behind(flow: &Tunnel) -> Option<&Arc<Server>> {
    let begins = |server: &&Arc<Server>| server.security()?.starttls.filter(|starttls| *starttls == Protocol::Mysql);
    flow.upstream.server().filter(|server| begins(server).is_some())
}

/// Serves a flow whose server has greeted, and whose client has not heard it.
pub(super) async fn go_on(mut session: Session, mut x: Box<Exchange>, mut flow: Tunnel, tls: Option<Tls>) {
    let connections = Arc::clone(&session.listener.connections);
    let counters = tls.as_ref().map(|_| connections.shard(session.worker.id));
    match secured(&mut session, &mut x, &mut flow, tls.as_ref()).await {
        Ok(()) => {
            counters.inspect(|counters| counters.handshake_done());
            tunnel::spawn(session, x, flow);
        }
        Err(fault) => {
            counters.inspect(|counters| counters.handshake_failed());
            // Its end should not look as if a server had answered with nothing.
            if fault.side != Side::Client {
                session.client.reset_on_close();
            }
            x.notes.fault = Some(fault);
            finish::attempt(&session.worker, &x, &flow.upstream, Some(fault));
            finish::record(&session.worker, &mut x, &flow.account.borrowed());
            session.worker.recycle(x);
        }
    }
}

const GONE: Fault = Fault::client(Kind::ClientGone);
const LOST: Fault = Fault::server(Kind::Truncated, Retry::Never);
const SILENT: Fault = Fault::client(Kind::HeadTimeout);
/// The client has heard the greeting of this server, so that it is too late for another one.
const SLOW: Fault = Fault::server(Kind::ConnectTimeout, Retry::Never);

/// Until both sides speak as they will: inside of TLS, or one of them, logged in.
async fn secured(session: &mut Session, x: &mut Exchange, flow: &mut Tunnel, tls: Option<&Tls>) -> Result<(), Fault> {
    let place = tls.map(|tls| tls.begin().ok_or(Fault::proxy(Kind::Overload))).transpose()?;
    let patience = tls.map_or(session.listener.request_head, |tls| tls.patience);
    session.timer.arm(Instant::now(), patience);
    let behind = behind(flow).cloned();
    let (client, server) = (&mut session.client, &mut flow.upstream.conn);
    let waits_for = Cell::new(SILENT);
    let late = Late { worker: &session.worker, timer: &session.timer, waits_for: &waits_for };
    // The server has greeted when it was connected to.
    let mut greeting = vec![0; server.carry().len()];
    server.unkeep(&mut greeting);
    mysql::offer_tls(&mut greeting, tls.is_some());
    let first = late.bound(async {
        say(client, &greeting).await.map_err(|_| GONE)?;
        match tls {
            Some(_) => asked(client).await,
            None => introduced(client).await,
        }
    });
    let Some((question, first)) = first.await? else {
        x.notes.reason = if tls.is_some() { "a client that does not begin TLS" } else { "no login of MySQL" };
        refuse(session, tls.is_some()).await;
        return Err(Fault::client(Kind::Malformed));
    };
    if let Some(known) = &behind {
        waits_for.set(SLOW);
        let begun = late.bound(begin(server, known, &question, &mut x.notes.cause)).await;
        if let Err(fault) = &begun
            && fault.side == Side::Server
        {
            let is_late = fault.kind == Kind::ConnectTimeout;
            known.connect_failed(if is_late { attempt::LATE } else { x.notes.cause.clone() });
        }
        begun?;
        waits_for.set(SILENT);
    }
    if let Some(tls) = tls {
        let stream = client.take_stream().map_err(|_| Fault::proxy(Kind::Overload))?;
        let (cause, sni) = (&mut x.notes.cause, &mut x.facts.sni);
        let accepting = async {
            tls.terminator.accept_told(stream, Vec::new()).await.map_err(|wrong| {
                *cause = doubt::of_client(&wrong);
                *sni = wrong.name.map(Into::into);
                Fault::client(Kind::ClientTls)
            })
        };
        let accepted = late.bound(accepting).await?;
        let agreed = accepted.agreed().map(|agreed| Rc::new(Agreed { inside: Some(Protocol::Mysql), ..agreed }));
        (session.tls, x.facts.tls) = (agreed.clone(), agreed);
        client.put_stream(accepted);
    }
    if tls.is_none() || behind.is_none() {
        let login = Login::new(tls.is_some());
        x.notes.bytes_in += late.bound(log_in(client, server, login, first, &waits_for)).await?;
    }
    drop(place);
    Ok(())
}

/// How long a conversation may take, and whose fault it is if it takes longer.
struct Late<'a> {
    worker: &'a Worker,
    timer: &'a Timer,
    waits_for: &'a Cell<Fault>,
}

impl Late<'_> {
    /// Waits for something until the timer is over that was armed.
    async fn bound<T>(&self, awaited: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let mut awaited = pin!(awaited);
        poll_fn(|cx| match awaited.as_mut().poll(cx) {
            Poll::Pending if self.worker.is_cut() => Poll::Ready(Err(Fault::proxy(Kind::Drained))),
            Poll::Pending => self.timer.poll_expired(cx).map(|()| Err(self.waits_for.get())),
            ready => ready,
        })
        .await
    }
}

/// A client's question for TLS, or the one that it would have asked, and the beginning of what it says behind it.
type First = Option<([u8; SSL_REQUEST], Vec<u8>)>;

/// Hears a client's question for TLS; nothing if it says something else.
async fn asked(client: &mut Conn) -> Result<First, Fault> {
    let Some(stream) = client.stream_mut() else { return Err(GONE) };
    let mut question = [0; SSL_REQUEST + 1];
    let mut seen = 0;
    loop {
        seen = match poll_fn(|cx| stream.poll_look(cx, &mut question, seen)).await {
            Ok(more) if more > seen => more,
            _ => return Err(GONE),
        };
        match mysql::answer(&question[..seen]) {
            Answer::Partial => {}
            Answer::Tls => break,
            Answer::Other => return Ok(None),
        }
    }
    let mut question: [u8; SSL_REQUEST] = std::array::from_fn(|at| question[at]);
    match poll_fn(|cx| Poll::Ready(stream.take(cx, &mut question))).await {
        true => Ok(Some((question, Vec::new()))),
        false => Err(GONE),
    }
}

/// Hears who a client is that was not offered TLS; nothing if it says something else.
async fn introduced(client: &mut Conn) -> Result<First, Fault> {
    let mut packet = Vec::new();
    match poll_fn(|cx| poll_packet(client, cx, &mut packet)).await {
        Ok(()) => Ok(mysql::question(&packet).map(|question| (question, packet))),
        Err(Broken::Long) => Ok(None),
        Err(Broken::Ended) => Err(GONE),
    }
}

/// Begins TLS with a server.
async fn begin(server: &mut Conn, known: &Server, question: &[u8], cause: &mut Cow<'static, str>) -> Result<(), Fault> {
    say(server, question).await.map_err(|_| Fault::server(Kind::Reset, Retry::Never))?;
    let Some(security) = known.security() else { return Err(Fault::server(Kind::ServerTls, Retry::Never)) };
    let stream = server.take_stream().map_err(|_| Fault::proxy(Kind::Overload))?;
    let begun = security.originator.connect(stream, &security.name).await;
    server.put_stream(begun.map_err(|error| {
        *cause = attempt::cause(&error);
        attempt::unconnected(known, &error)
    })?);
    Ok(())
}

/// Passes on what is said until the client has logged in, or has been refused; answers how much of it the client has said.
async fn log_in(
    client: &mut Conn,
    server: &mut Conn,
    mut login: Login,
    first: Vec<u8>,
    waits_for: &Cell<Fault>,
) -> Result<u64, Fault> {
    let (mut asked, mut answered, mut bytes) = (first, Vec::new(), 0);
    loop {
        let is_answer = poll_fn(|cx| {
            // The server first, for with what it says last this is over.
            if let Poll::Ready(read) = poll_packet(server, cx, &mut answered) {
                return Poll::Ready(read.map(|()| true).map_err(|_| LOST));
            }
            poll_packet(client, cx, &mut asked).map(|read| read.map(|()| false).map_err(Broken::of_client))
        });
        if !is_answer.await? {
            if !login.ask(&mut asked) {
                return Err(Broken::Long.of_client());
            }
            bytes += asked.len() as u64;
            say(server, &asked).await.map_err(|_| LOST)?;
            asked.clear();
            waits_for.set(Fault::server(Kind::ResponseTimeout, Retry::Never));
            continue;
        }
        let is_last = login.answer(&mut answered);
        say(client, &answered).await.map_err(|_| GONE)?;
        if is_last {
            // What it has begun to say is no part of this any more.
            client.keep(&asked);
            return Ok(bytes);
        }
        answered.clear();
        waits_for.set(SILENT);
    }
}

/// No packet of a login is longer than this.
const MOST: usize = 1 << 17;
/// There is room for so much more than has come, whatever a packet says of its length.
const PIECE: usize = 4096;

/// Why there is no packet.
enum Broken {
    /// The other side is gone.
    Ended,
    /// It is too long.
    Long,
}

impl Broken {
    fn of_client(self) -> Fault {
        match self {
            Broken::Ended => GONE,
            Broken::Long => Fault::client(Kind::Malformed),
        }
    }
}

/// Reads a packet to its last byte, no farther.
fn poll_packet(conn: &mut Conn, cx: &mut Context<'_>, packet: &mut Vec<u8>) -> Poll<Result<(), Broken>> {
    loop {
        let (had, length) = (packet.len(), mysql::length(packet));
        if length == Some(had) {
            return Poll::Ready(Ok(()));
        }
        let whole = length.unwrap_or(mysql::HEADER);
        if whole > MOST {
            return Poll::Ready(Err(Broken::Long));
        }
        packet.resize(whole.min(had + PIECE), 0);
        let read = conn.poll_read(cx, &mut packet[had..]);
        packet.truncate(had + if let Poll::Ready(Ok(count)) = read { count } else { 0 });
        match ready!(read) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Poll::Ready(Err(Broken::Ended)),
        }
    }
}

/// Writes all of it.
async fn say(conn: &mut Conn, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| conn.poll_write(cx, bytes)).await?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Tells a client that does not begin TLS that it has to, and closes.
async fn refuse(session: &mut Session, needs_tls: bool) {
    if needs_tls {
        let mut words = Vec::new();
        mysql::refusal(&mut words);
        // Whoever has gone needs not be told.
        let _ = say(&mut session.client, &words).await;
    }
    linger(&mut session.client, &session.timer, &session.worker).await;
}
