//! The numbers of clients: uniform, and the same for a client each time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use wire::{Head, Known};

use crate::exchange::Exchange;
use crate::policy::Selector;
use crate::route;
use crate::seal::Seal;

/// Numbers are below this: hundredths of a percent, as shares are.
pub(super) const NUMBERS: u32 = 10_000;

/// What gives a client its number.
#[derive(Debug)]
pub enum Cohorts {
    /// Nothing: each request draws one.
    Chance,
    /// A cookie that the client keeps.
    Cookie(CookieRule),
    /// A hash of what the request carries, and of `seed`, so that the first clients to see one candidate are not the first
    /// to see all others.
    Hash {
        /// What the canary is called.
        seed: Box<str>,
        /// What is hashed.
        by: Box<[Selector]>,
    },
}

/// The cookie that holds a number.
#[derive(Debug)]
pub struct CookieRule {
    name: Box<str>,
    /// Binds a number to its canary: the cookie of another one is worth nothing here.
    purpose: Box<str>,
    /// The same for numbers of requests that come before there is a cookie.
    first: Box<str>,
    seal: Arc<Seal>,
}

/// For how long a cookie lasts, in seconds: thirty days.
const LASTS: u32 = 30 * 24 * 60 * 60;

/// Requests of one browser that come within so many seconds without a cookie have the same number.
const TOGETHER: u64 = 5;

impl Cohorts {
    /// The number of the request's client, if it has one. A cookie of ours goes no further: servers that saw it could tell
    /// clients of one version from those of another.
    pub(super) fn take(&self, x: &mut Exchange) -> Option<u32> {
        match self {
            Cohorts::Chance => None,
            Cohorts::Cookie(rule) => {
                let number = rule.number(&x.request);
                route::remove_cookie(&mut x.request, rule.name.as_bytes());
                number
            }
            Cohorts::Hash { seed, by } => {
                let view = x.facts.view(&x.request);
                let mut hash = Sha256::new_with_prefix(seed.as_bytes());
                let (mut value, mut anything) = (Vec::new(), false);
                for selector in by {
                    value.clear();
                    selector.show(&view, &mut value);
                    anything |= !value.is_empty();
                    // Lengths keep `a, bc` and `ab, c` apart.
                    hash.update((value.len() as u64).to_be_bytes());
                    hash.update(&value);
                }
                let head = *hash.finalize().first_chunk()?;
                anything.then(|| (u64::from_be_bytes(head) % u64::from(NUMBERS)) as u32)
            }
        }
    }
}

impl CookieRule {
    /// The cookie of a canary, which is known by its listener and route. Without a name of its own it has one that no other
    /// canary has: a host may serve several, and each would take the other's cookie for a broken one.
    pub fn new(listener: &str, route: &str, name: Option<&str>, seal: Arc<Seal>) -> CookieRule {
        let purpose = format!("canary {}/{listener}/{route}", listener.len());
        let name = name.map_or_else(
            || {
                let digest = Sha256::digest(purpose.as_bytes());
                let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
                format!("tidegate-canary-{short}")
            },
            str::to_owned,
        );
        CookieRule { name: name.into(), first: format!("first {purpose}").into(), purpose: purpose.into(), seal }
    }

    fn number(&self, head: &Head) -> Option<u32> {
        route::cookies(head, self.name.as_bytes()).find_map(|value| {
            let number = u32::from_be_bytes(self.seal.open(&self.purpose, value)?.try_into().ok()?);
            (number < NUMBERS).then_some(number)
        })
    }

    /// The number of a browser that has no cookie yet. It may send several requests before the first answer brings one; were
    /// each to draw a number, the last answer would decide, and the first might have shown another version. So what looks like
    /// a browser, since it names itself and its languages, has the same number for a moment. Only for a moment: many people
    /// of one office look like one browser, and they should not all see the same version.
    pub(super) fn first(&self, head: &Head, client: IpAddr, now: SystemTime) -> Option<u32> {
        let (agent, languages) = (head.value_of(Known::UserAgent)?, head.value(b"accept-language")?);
        let moment = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) / TOGETHER;
        let mut value = client.to_string().into_bytes();
        for part in [&moment.to_be_bytes(), agent, languages] {
            value.extend_from_slice(&(part.len() as u64).to_be_bytes());
            value.extend_from_slice(part);
        }
        let tag = self.seal.tag(&self.first, &value);
        let head = *tag.first_chunk()?;
        Some((u64::from_be_bytes(head) % u64::from(NUMBERS)) as u32)
    }

    /// The field value that makes a client keep the number.
    pub(super) fn set(&self, number: u32) -> String {
        let sealed = self.seal.seal(&self.purpose, &number.to_be_bytes());
        format!("{}={sealed}; Path=/; HttpOnly; SameSite=Lax; Max-Age={LASTS}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rule(route: &str, name: Option<&str>) -> CookieRule {
        CookieRule::new("web", route, name, Arc::new(Seal::new(b"secret")))
    }

    fn with(cookie: &str) -> Head {
        let mut head = Head::default();
        head.start_request(b"GET", b"a", b"/", None);
        head.add(b"Cookie", cookie.as_bytes());
        head
    }

    #[test]
    fn a_number_comes_back_to_its_own_canary_alone() {
        let (one, other) = (rule("one", Some("c")), rule("other", Some("c")));
        for number in [0, 1, 9_999] {
            let set = one.set(number);
            let pair = set.split(';').next().expect("a pair");
            assert_eq!(one.number(&with(&format!("a=b; {pair}"))), Some(number));
            assert_eq!(other.number(&with(pair)), None);
            // Another's broken cookie of the same name does not hide ours.
            assert_eq!(one.number(&with(&format!("c=0123; {pair}"))), Some(number));
        }
    }

    #[test]
    fn first_requests_of_one_browser_agree_for_a_moment() {
        let (one, other) = (rule("one", None), rule("other", None));
        let head = |fields: &[(&str, &str)]| {
            let mut head = Head::default();
            head.start_request(b"GET", b"a", b"/", None);
            fields.iter().for_each(|(name, value)| head.add(name.as_bytes(), value.as_bytes()));
            head
        };
        let browser = |agent: &str| head(&[("User-Agent", agent), ("Accept-Language", "en")]);
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let here = IpAddr::from([192, 0, 2, 1]);
        let number = one.first(&browser("x"), here, at(1000));
        assert!(number.is_some_and(|number| number < NUMBERS));
        assert_eq!(one.first(&browser("x"), here, at(1000 + TOGETHER - 1)), number);
        assert_ne!(one.first(&browser("x"), here, at(1000 + TOGETHER)), number);
        assert_ne!(one.first(&browser("y"), here, at(1000)), number);
        assert_ne!(one.first(&browser("x"), IpAddr::from([192, 0, 2, 2]), at(1000)), number);
        assert_ne!(other.first(&browser("x"), here, at(1000)), number);
        // Programs name no languages, and each of their requests may be somebody else's.
        for head in [head(&[]), head(&[("User-Agent", "x")]), head(&[("Accept-Language", "en")])] {
            assert_eq!(one.first(&head, here, at(1000)), None);
        }
        let below = (0..2000).filter(|user| one.first(&browser(&user.to_string()), here, at(0)) < Some(500)).count();
        assert!((60..140).contains(&below), "{below} of 2000 are below 5%");
    }

    #[test]
    fn canaries_without_a_name_of_their_own_have_different_cookies() {
        let name = |route| rule(route, None).name;
        assert_eq!(name("one"), name("one"));
        assert_ne!(name("one"), name("other"));
        assert!(name("one").starts_with("tidegate-canary-"));
    }

    #[test]
    fn a_number_out_of_range_is_none() {
        let one = rule("one", Some("c"));
        let pair = format!("c={}", one.seal.seal(&one.purpose, &NUMBERS.to_be_bytes()));
        assert_eq!(one.number(&with(&pair)), None);
    }
}
