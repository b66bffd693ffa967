//! `GET /api/tail`: access records as they come, as server-sent events (HTML Living Standard section 9.2), for as long as somebody
//! looks.

use std::future::poll_fn;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use proxy::tail::{Filter, Reader, Tail};
use proxy::worker::Command;
use tokio::time::{Instant, Sleep, sleep};
use wire::form;
use wire::forwarded::Net;

use super::Desk;
use super::answer::Answer;
use super::place::decode;

/// Those who look at a time.
const MOST: usize = 8;
/// Lines go out together up to so many bytes.
const BATCH: usize = 64 * 1024;
/// In silence something is said so often, so that whoever is in between does not take it for dead.
const EVERY: Duration = Duration::from_secs(15);

/// The content type of events.
pub(super) const KIND: &str = "text/event-stream";

/// One who looks, for as long as this lives.
pub(super) struct Watch {
    desk: Rc<Desk>,
    tail: Arc<Tail>,
    reader: Reader,
    silence: std::pin::Pin<Box<Sleep>>,
}

impl Watch {
    /// Begins to look at what a query asks for.
    ///
    /// # Errors
    /// The query asks for something that there is not, or too many look already.
    pub(super) fn begin(desk: &Rc<Desk>, query: Option<&[u8]>) -> Result<Watch, Answer> {
        let filter = filter(query.unwrap_or_default())?;
        if desk.tails.borrow().len() >= MOST {
            return Err(Answer::error(503, format_args!("more than {MOST} look already")));
        }
        let (tail, reader) = Tail::new(filter);
        let tail = Arc::new(tail);
        desk.tails.borrow_mut().push(Arc::clone(&tail));
        tell(desk);
        Ok(Watch { desk: Rc::clone(desk), tail, reader, silence: Box::pin(sleep(EVERY)) })
    }

    /// The next events, when there are some. A client that leaves is found out by `is_gone`.
    pub(super) async fn next(&mut self, mut is_gone: impl FnMut(&mut Context<'_>) -> Poll<()>) -> Option<Vec<u8>> {
        let first = poll_fn(|cx| {
            if is_gone(cx).is_ready() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(line) = self.reader.poll_line(cx) {
                return Poll::Ready(line.map(Some));
            }
            self.silence.as_mut().poll(cx).map(|()| Some(None))
        })
        .await?;
        self.silence.as_mut().reset(Instant::now() + EVERY);
        let mut out = Vec::new();
        let Some(first) = first else { return Some(b": nothing happens\n\n".to_vec()) };
        event(&first, &mut out);
        while out.len() < BATCH
            && let Some(line) = self.reader.try_line()
        {
            event(&line, &mut out);
        }
        let lost = self.reader.lost();
        if lost > 0 {
            out.extend_from_slice(format!("event: lost\ndata: {{\"lost\":{lost}}}\n\n").as_bytes());
        }
        Some(out)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.desk.tails.borrow_mut().retain(|tail| !Arc::ptr_eq(tail, &self.tail));
        tell(&self.desk);
    }
}

fn tell(desk: &Desk) {
    let tails = desk.tails.borrow();
    desk.process.plane.borrow().fleet.tell_all(|_| Command::Tail(tails.clone()));
}

/// A line is one: control characters in it are escaped.
fn event(line: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(line);
    out.extend_from_slice(b"\n\n");
}

/// What a query asks for: of several values of a key one has to hold, and of several keys all.
fn filter(query: &[u8]) -> Result<Filter, Answer> {
    let mut filter = Filter::default();
    for (name, value) in form::pairs(query) {
        let value = decode(value).ok_or_else(|| Answer::error(400, "the query is not valid percent-encoded UTF-8"))?;
        let wrong = |what: &str| Answer::error(400, format_args!("{what}: `{value}`"));
        match name {
            b"listener" => filter.listeners.push(value),
            b"route" => filter.routes.push(value),
            b"host" => filter.hosts.push(value.to_ascii_lowercase()),
            b"status" => filter
                .statuses
                .push(statuses(&value).ok_or_else(|| wrong("a status is such as `404`, `5xx`, `400-499` or `none`"))?),
            b"client" => {
                filter.clients.push(network(&value).ok_or_else(|| wrong("a client is an address or a network"))?);
            }
            _ => {
                let name = String::from_utf8_lossy(name);
                let ours = "`listener`, `route`, `host`, `status`, `client`";
                return Err(Answer::error(400, format_args!("unknown key `{name}`, there are {ours}")));
            }
        }
    }
    Ok(filter)
}

fn statuses(text: &str) -> Option<RangeInclusive<u16>> {
    if text == "none" {
        return Some(0..=0);
    }
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
        return Some(class * 100..=class * 100 + 99);
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse().ok().filter(|status| (100..=599).contains(status));
    Some(number(from)?..=number(to)?).filter(|range| !range.is_empty())
}

fn network(text: &str) -> Option<Net> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(most), |prefix| prefix.parse().ok().filter(|prefix| *prefix <= most))?;
    Some(Net { address, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_understood_or_refused() {
        let good =
            filter(b"listener=a%20b&host=*.A.test&status=5xx&status=404&client=10.0.0.0/8&client=::1").expect("good");
        assert_eq!((good.listeners, good.hosts), (vec!["a b".to_owned()], vec!["*.a.test".to_owned()]));
        assert_eq!(good.statuses, [500..=599, 404..=404]);
        assert_eq!(good.clients.iter().map(|net| net.prefix).collect::<Vec<_>>(), [8, 128]);
        assert_eq!(statuses("none"), Some(0..=0));
        for bad in [
            "status=0",
            "status=6xx",
            "status=x",
            "status=500-400",
            "status=",
            "client=a",
            "client=1.2.3.4/33",
            "path=/",
            "host=%ff",
        ] {
            assert_eq!(filter(bad.as_bytes()).map_or_else(|refused| refused.status, |_| 200), 400, "{bad}");
        }
        assert!(filter(b"").is_ok());
    }
}
