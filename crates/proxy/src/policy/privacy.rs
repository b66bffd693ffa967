//! What servers learn of who asks beside the address: the page before, cookies, the program.

use wire::head::Scheme;
use wire::{Head, Known, uri};

use crate::exchange::Facts;

/// What becomes of fields that tell of the client. None of it hides more than they say.
#[derive(Debug)]
pub struct Privacy {
    /// Of `Referer`.
    pub referer: Referer,
    /// Of `Cookie`, and of `Set-Cookie` on the way back.
    pub cookies: Cookies,
    /// Of `User-Agent`, and of the hints that say the same (`Sec-CH-UA*`).
    pub user_agent: UserAgent,
}

/// What becomes of `Referer`: the policies of W3C's Referrer Policy. By all but `Keep` nothing of a page under TLS is told to a server
/// in plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Referer {
    /// It goes on.
    Keep,
    /// Its origin is told.
    Origin,
    /// It goes on to its own origin, and to no other.
    SameOrigin,
    /// It goes on to its own origin; others are told that origin.
    OriginWhenCrossOrigin,
    /// It goes.
    Remove,
}

/// What becomes of cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookies {
    /// They pass.
    Keep,
    /// They pass if it is no page of another site that asks.
    FirstParty,
    /// None pass.
    Remove,
}

/// What becomes of `User-Agent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserAgent {
    /// It goes on.
    Keep,
    /// It goes.
    Remove,
    /// It is this.
    Text(Box<str>),
}

impl Privacy {
    /// Edits a request's head.
    pub(super) fn forwards(&self, head: &mut Head, facts: &Facts) {
        if self.cookies.takes(facts.third_party) {
            head.remove_known(Known::Cookie);
        }
        self.refer(head, facts);
        match &self.user_agent {
            UserAgent::Keep => return,
            UserAgent::Remove => {
                head.remove_known(Known::UserAgent);
            }
            UserAgent::Text(text) => head.set(b"User-Agent", text.as_bytes()),
        }
        head.retain(|field| !field.name.get(..HINTS.len()).is_some_and(|start| start.eq_ignore_ascii_case(HINTS)));
    }

    /// Edits a response's head.
    pub(super) fn backwards(&self, head: &mut Head, facts: &Facts) {
        if self.cookies.takes(facts.third_party) {
            head.remove(b"Set-Cookie");
        }
    }

    fn refer(&self, head: &mut Head, facts: &Facts) {
        let Some(referer) = head.value_of(Known::Referer).filter(|_| self.referer != Referer::Keep) else { return };
        let secure = match head.scheme() {
            Scheme::Http => false,
            Scheme::Https => true,
            Scheme::Unsaid => facts.tls.is_some(),
        };
        let told = Page::of(referer).filter(|page| secure || !page.secure).and_then(|page| {
            let same = page.secure == secure && page.is_at(head.authority());
            match self.referer {
                Referer::SameOrigin | Referer::OriginWhenCrossOrigin if same => Some(None),
                Referer::Origin | Referer::OriginWhenCrossOrigin => Some(Some(page.origin)),
                _ => None,
            }
        });
        match told {
            // As it is.
            Some(None) => {}
            Some(Some(length)) => {
                let origin = [&referer[..length], b"/"].concat();
                head.set(b"Referer", &origin);
            }
            None => {
                head.remove_known(Known::Referer);
            }
        }
    }
}

/// Hints of what a browser is: `Sec-CH-UA`, `Sec-CH-UA-Platform` and their kin.
const HINTS: &[u8] = b"sec-ch-ua";

impl Cookies {
    fn takes(self, third_party: bool) -> bool {
        self == Cookies::Remove || (self == Cookies::FirstParty && third_party)
    }
}

/// Whether a page of another site has asked, as the browser says (`Sec-Fetch-Site`, which it says under TLS alone) or else as the
/// page says of itself: its host is neither the one that is asked, nor above nor below it. Which names are one site's beyond
/// that, only a list could say.
pub(crate) fn is_third_party(head: &Head) -> bool {
    if let Some(site) = head.value(b"sec-fetch-site") {
        return site.eq_ignore_ascii_case(b"cross-site");
    }
    let Some(page) = head.value_of(Known::Referer).and_then(Page::of) else { return false };
    let (asking, asked) = (uri::host(page.authority), uri::host(head.authority()));
    !(is_within(&asking, &asked) || is_within(&asked, &asking))
}

/// Whether a host is another or a name below it. An address has none below it.
fn is_within(name: &[u8], above: &[u8]) -> bool {
    let Some(rest) = name.strip_suffix(above) else { return false };
    let is_name = above.last().is_some_and(u8::is_ascii_alphabetic);
    rest.is_empty() || (is_name && rest.ends_with(b"."))
}

/// The page that a `Referer` names.
struct Page<'a> {
    secure: bool,
    authority: &'a [u8],
    /// The length of its origin.
    origin: usize,
}

impl<'a> Page<'a> {
    fn of(referer: &'a [u8]) -> Option<Page<'a>> {
        let starts =
            |scheme: &[u8]| referer.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        let (secure, start) = if starts(b"http://") { (false, 7) } else { (true, 8) };
        if secure && !starts(b"https://") {
            return None;
        }
        let rest = &referer[start..];
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let authority = &rest[..end];
        uri::is_authority(authority).then_some(Page { secure, authority, origin: start + end })
    }

    /// Whether an authority of the same scheme is this page's.
    fn is_at(&self, authority: &[u8]) -> bool {
        let port = |authority: &[u8]| uri::port(authority).unwrap_or(if self.secure { 443 } else { 80 });
        uri::host(self.authority) == uri::host(authority) && port(self.authority) == port(authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn referred(policy: Referer, to: &[u8], referer: &str) -> Option<String> {
        let mut head = Head::default();
        head.start_request(b"GET", to, b"/", None);
        head.add(b"Referer", referer.as_bytes());
        let privacy = Privacy { referer: policy, cookies: Cookies::Keep, user_agent: UserAgent::Keep };
        privacy.refer(&mut head, &crate::exchange::Exchange::default().facts);
        head.value_of(Known::Referer).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    #[test]
    fn a_page_is_told_as_far_as_its_policy_lets_it() {
        let page = "http://a.test/secret?q=1";
        for (policy, same, cross) in [
            (Referer::Keep, Some(page), Some(page)),
            (Referer::Origin, Some("http://a.test/"), Some("http://a.test/")),
            (Referer::SameOrigin, Some(page), None),
            (Referer::OriginWhenCrossOrigin, Some(page), Some("http://a.test/")),
            (Referer::Remove, None, None),
        ] {
            assert_eq!(referred(policy, b"a.test", page).as_deref(), same, "{policy:?}");
            assert_eq!(referred(policy, b"A.test:80", page).as_deref(), same, "{policy:?}");
            assert_eq!(referred(policy, b"b.test", page).as_deref(), cross, "{policy:?}");
            assert_eq!(referred(policy, b"a.test:81", page).as_deref(), cross, "{policy:?}");
            let secured = referred(policy, b"a.test", "https://a.test/secret");
            assert_eq!(secured.is_some(), policy == Referer::Keep, "{policy:?} from TLS to plain");
            for broken in ["about:blank", "a.test/secret", "http://user:word@a.test/", "http:///x", "http://", ""] {
                assert_eq!(
                    referred(policy, b"a.test", broken).is_some(),
                    policy == Referer::Keep,
                    "{policy:?} {broken}"
                );
            }
        }
        assert_eq!(referred(Referer::Origin, b"b.test", "http://a.test?secret").as_deref(), Some("http://a.test/"));
        assert_eq!(referred(Referer::Origin, b"b.test", "http://a.test").as_deref(), Some("http://a.test/"));
    }

    #[test]
    fn a_third_party_is_a_page_of_another_site() {
        let asked = |fields: &[(&str, &str)], to: &str| {
            let mut head = Head::default();
            head.start_request(b"GET", to.as_bytes(), b"/", None);
            fields.iter().for_each(|(name, value)| head.add(name.as_bytes(), value.as_bytes()));
            is_third_party(&head)
        };
        for (page, to, third) in [
            ("http://a.test/", "a.test", false),
            ("http://a.test:8080/", "A.test", false),
            ("http://www.a.test/", "a.test", false),
            ("http://a.test/", "img.a.test:81", false),
            ("http://a.test/", "ads.test", true),
            ("http://a.test/", "bada.test", true),
            ("http://10.0.0.1/", "0.0.1", true),
            ("http://1/", "10.1", true),
            ("about:blank", "ads.test", false),
        ] {
            assert_eq!(asked(&[("Referer", page)], to), third, "{page} {to}");
        }
        assert!(!asked(&[], "ads.test"));
        for (site, third) in [("cross-site", true), ("same-site", false), ("same-origin", false), ("none", false)] {
            assert_eq!(asked(&[("Sec-Fetch-Site", site), ("Referer", "http://a.test/")], "b.test"), third, "{site}");
        }
    }
}
