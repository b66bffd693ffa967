//! Requests to an authority: each on a connection of its own, by HTTP/1.1, bounded in time and size.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use ::http::BodyReader;
use http_types::{Request, Response, Uri};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use net::dial::{Call, Security, dial};
use net::dns::Resolver;
use net::tls::Originator;
use net::{Address, Stream};
use tokio::sync::{mpsc, oneshot};
use wire::Head;
use wire::h1::{self, Asked, Limits, Progress};

/// How an authority is reached.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) originator: Originator,
    /// Names with fixed addresses.
    pub(super) hosts: Vec<(String, Vec<IpAddr>)>,
    /// Name servers to ask about the others; the system's if there are none.
    pub(super) servers: Vec<SocketAddr>,
}

/// What the ACME library asks by. Its requests may be sent from anywhere, our streams belong to one thread: they meet in a
/// channel.
#[derive(Debug)]
pub(super) struct Web {
    asks: mpsc::UnboundedSender<Ask>,
}

type Content = Vec<u8>;
type Ask = (http_types::request::Parts, Content, oneshot::Sender<Result<Response<Content>, String>>);

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer: a chain of certificates is a few KiB.
const MOST: usize = 1 << 20;
const HEAD: Limits = Limits { head: 32 * 1024, line: 8 * 1024, fields: 200 };

impl Web {
    /// With the task that asks, which ends with whoever asks by it.
    pub(super) fn new(reach: Reach) -> Web {
        let (asks, mut asked) = mpsc::unbounded_channel::<Ask>();
        tokio::task::spawn_local(async move {
            while let Some((parts, content, reply)) = asked.recv().await {
                let answer = match tokio::time::timeout(PATIENCE, fetch(&reach, &parts, &content)).await {
                    Ok(Ok(answer)) => Ok(answer),
                    Ok(Err(error)) => Err(format!("{}: {error}", parts.uri)),
                    Err(_) => Err(format!("{}: no answer within {} s", parts.uri, PATIENCE.as_secs())),
                };
                // Whoever has asked may have given up.
                let _ = reply.send(answer);
            }
        });
        Web { asks }
    }
}

impl HttpClient for Web {
    fn request(
        &self,
        request: Request<BodyWrapper<bytes::Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let asks = self.asks.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            // The library lets bodies be read as those of responses alone.
            let mut body = BytesResponse::from(Response::new(body)).body;
            let content = body.into_bytes().await.map_err(Error::Other)?;
            let (reply, answer) = oneshot::channel();
            let gone = || Error::Str("somebody who asks");
            asks.send((parts, content.to_vec(), reply)).map_err(|_| gone())?;
            match answer.await.map_err(|_| gone())? {
                Ok(response) => {
                    let (parts, content) = response.into_parts();
                    Ok(BytesResponse { parts, body: Box::new(bytes::Bytes::from(content)) })
                }
                Err(why) => Err(Error::Other(Box::new(io::Error::other(why)))),
            }
        })
    }
}

async fn fetch(reach: &Reach, parts: &http_types::request::Parts, content: &[u8]) -> io::Result<Response<Content>> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
    let host =
        parts.uri.host().filter(|_| parts.uri.scheme_str() == Some("https")).ok_or_else(|| bad("no https URL"))?;
    let name = host.trim_matches(['[', ']']);
    let security =
        Security { originator: reach.originator.clone(), name: name.into(), starttls: None, lets_plain: false };
    let mut stream = connect(reach, name, parts.uri.port_u16().unwrap_or(443), &security).await?;
    stream.write_all(&head(parts, host, content)).await?;
    stream.write_all(content).await?;
    let asked = if parts.method == http_types::Method::HEAD { Asked::Head } else { Asked::Other };
    read(&mut stream, asked).await
}

async fn connect(reach: &Reach, name: &str, port: u16, security: &Security) -> io::Result<Stream> {
    let fixed = reach.hosts.iter().find(|(host, _)| host == name).map(|(_, addresses)| addresses.clone());
    let addresses = match (name.parse(), fixed) {
        (Ok(address), _) => vec![address],
        (Err(_), Some(fixed)) => fixed,
        (Err(_), None) => Resolver::new(&reach.servers)?.addresses(name).await?.found,
    };
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let call = Call { security: Some(security), ..Call::default() };
        match dial(&Address::Tcp((address, port).into()), &call).await {
            Ok(dialled) => return Ok(dialled.stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn head(parts: &http_types::request::Parts, host: &str, content: &[u8]) -> Vec<u8> {
    let authority = authority(&parts.uri, host);
    let mut head = Head::default();
    head.start_request(
        parts.method.as_str().as_bytes(),
        authority.as_bytes(),
        parts.uri.path().as_bytes(),
        parts.uri.query().map(str::as_bytes),
    );
    head.set(b"Host", authority.as_bytes());
    for (name, value) in &parts.headers {
        head.set(name.as_str().as_bytes(), value.as_bytes());
    }
    head.set(b"Connection", b"close");
    if parts.method == http_types::Method::POST {
        head.set(b"Content-Length", content.len().to_string().as_bytes());
    }
    let mut bytes = Vec::new();
    h1::request_head(&head, &mut bytes);
    bytes
}

fn authority(uri: &Uri, host: &str) -> String {
    uri.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

async fn read(stream: &mut Stream, asked: Asked) -> io::Result<Response<Content>> {
    let bad = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let (mut heard, mut content, mut head) = (Vec::new(), Vec::new(), Head::default());
    let mut reader: Option<BodyReader> = None;
    let mut block = [0; 4096];
    loop {
        while reader.is_none() {
            match h1::response(&heard, asked, &HEAD, &mut head).map_err(|reject| bad(reject.reason().to_owned()))? {
                Progress::Partial => break,
                Progress::Complete(used) => drop(heard.drain(..used)),
            }
            if head.status() >= 200 {
                reader = Some(BodyReader::new(head.framing()));
            }
        }
        if let Some(reader) = &mut reader {
            let taken = reader.take(&heard, |bytes| content.extend_from_slice(bytes));
            heard.drain(..taken.map_err(|reject| bad(reject.reason().to_owned()))?);
            if reader.is_done() {
                return response(&head, content).map_err(|error| bad(error.to_string()));
            }
        }
        if heard.len() + content.len() > MOST {
            return Err(bad("an answer without end".to_owned()));
        }
        let count = poll_fn(|cx| stream.poll_read(cx, &mut block)).await?;
        heard.extend_from_slice(&block[..count]);
        if count == 0 {
            if !reader.is_some_and(|mut reader| reader.ended(None)) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            return response(&head, content).map_err(|error| bad(error.to_string()));
        }
    }
}

fn response(head: &Head, content: Content) -> Result<Response<Content>, http_types::Error> {
    let mut response = Response::builder().status(head.status());
    for name in ["replay-nonce", "location", "retry-after", "content-type"] {
        for value in head.values(name.as_bytes()) {
            response = response.header(name, value);
        }
    }
    response.body(content)
}
