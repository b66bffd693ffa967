//! The numbers of clients: uniform, and the same for a client each time.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wire::Head;

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
    seal: Arc<Seal>,
}

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
        CookieRule { name: name.into(), purpose: purpose.into(), seal }
    }

    fn number(&self, head: &Head) -> Option<u32> {
        route::cookies(head, self.name.as_bytes()).find_map(|value| {
            let number = u32::from_be_bytes(self.seal.open(&self.purpose, value)?.try_into().ok()?);
            (number < NUMBERS).then_some(number)
        })
    }

    /// The field value that makes a client keep the number, for as long as its browser runs.
    pub(super) fn set(&self, number: u32) -> String {
        let sealed = self.seal.seal(&self.purpose, &number.to_be_bytes());
        format!("{}={sealed}; Path=/; HttpOnly; SameSite=Lax", self.name)
    }
}

#[cfg(test)]
mod tests {
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
