//! `Max-Forwards`: how many more hops an OPTIONS or TRACE request may go (RFC 9110 section 7.6.2). Whoever looks for a loop
//! or a broken hop counts on every proxy to count; for other methods it means nothing.

use base::{Fault, Kind};
use wire::Head;
use wire::head::Method;

use super::Exchange;

/// Where a request ends that says how far it may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hops {
    /// It goes on; what it says is one less.
    GoesOn,
    /// We are its last recipient.
    EndsHere,
}

/// What it says is no number.
#[derive(Debug, PartialEq, Eq)]
struct NoNumber;

/// Whether the request has said that it may go no farther than here.
pub(super) fn ends_here(x: &mut Exchange) -> Result<bool, Fault> {
    count(&mut x.request).map(|hops| hops == Hops::EndsHere).map_err(|NoNumber| {
        x.notes.reason = "Max-Forwards is no number";
        Fault::client(Kind::Malformed)
    })
}

/// Counts one hop.
fn count(head: &mut Head) -> Result<Hops, NoNumber> {
    if !matches!(head.method(), Method::Options | Method::Trace) {
        return Ok(Hops::GoesOn);
    }
    let mut values = head.values(b"max-forwards");
    let Some(value) = values.next() else { return Ok(Hops::GoesOn) };
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if !is_number || values.next().is_some() {
        return Err(NoNumber);
    }
    // More hops than there can be are as many as there can be.
    let digit = |left: u32, digit: &u8| left.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    let left = value.iter().fold(0, digit);
    drop(values);
    let Some(left) = left.checked_sub(1) else { return Ok(Hops::EndsHere) };
    head.set(b"Max-Forwards", left.to_string().as_bytes());
    Ok(Hops::GoesOn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(method: &[u8], values: &[&[u8]]) -> (Result<Hops, NoNumber>, String) {
        let mut head = Head::default();
        head.start_request(method, b"a", b"/", None);
        values.iter().for_each(|value| head.add(b"Max-Forwards", value));
        let hops = count(&mut head);
        (hops, String::from_utf8_lossy(head.value(b"max-forwards").unwrap_or_default()).into_owned())
    }

    #[test]
    fn each_hop_counts_one() {
        for method in [&b"OPTIONS"[..], b"TRACE"] {
            assert_eq!(counted(method, &[b"0"]), (Ok(Hops::EndsHere), "0".to_owned()));
            assert_eq!(counted(method, &[b"000"]).0, Ok(Hops::EndsHere));
            assert_eq!(counted(method, &[b"1"]), (Ok(Hops::GoesOn), "0".to_owned()));
            assert_eq!(counted(method, &[b"99999999999999999999"]), (Ok(Hops::GoesOn), (u32::MAX - 1).to_string()));
            assert_eq!(counted(method, &[]), (Ok(Hops::GoesOn), String::new()));
            for wrong in [&[&b""[..]][..], &[b"-1"], &[b"1, 2"], &[b"1", b"1"]] {
                assert_eq!(counted(method, wrong).0, Err(NoNumber), "{wrong:?}");
            }
        }
        assert_eq!(counted(b"GET", &[b"0"]), (Ok(Hops::GoesOn), "0".to_owned()));
    }
}
