//! Zone files of response policy zones: owners that stand for names that are asked for (QNAME triggers), with `CNAME .`, `CNAME
//! *.` and their kin as what is to become of them. The form of the file is that of RFC 1035 section 5.

use super::{Effect, Line, Name, Rule};

/// What earlier lines of a zone file have said.
#[derive(Debug, Default)]
pub(super) struct Zone {
    /// What relative names are relative to; empty where that is the zone itself and it is not named.
    origin: String,
    /// The zone's own name.
    apex: Option<String>,
    /// The owner of the last record, for those that do not say theirs.
    owner: String,
    /// Inside of parentheses, which continue a record over lines.
    is_continued: bool,
}

impl Zone {
    pub(super) fn line(&mut self, text: &str, tell: &mut dyn FnMut(Rule<'_>)) -> Line {
        let text = without_comment(text);
        if self.is_continued {
            self.is_continued = !text.contains(')');
            return Line::Blank;
        }
        self.is_continued = text.contains('(') && !text.contains(')');
        let inherits = text.starts_with([' ', '\t']);
        let mut words = text.split_ascii_whitespace().peekable();
        let Some(first) = words.peek().copied() else { return Line::Blank };
        if first.starts_with('$') {
            return self.directive(first, words.nth(1));
        }
        if !inherits {
            first.clone_into(&mut self.owner);
            words.next();
        }
        // Class and time to live stand in any order.
        let is_beside = |word: &str| {
            ["IN", "CH", "HS"].iter().any(|class| word.eq_ignore_ascii_case(class))
                || word.starts_with(|c: char| c.is_ascii_digit())
        };
        let Some(kind) = words.find(|word| !is_beside(word)) else { return Line::Wrong };
        let said = words.next();
        if kind.eq_ignore_ascii_case("SOA") {
            self.apex = Some(if self.owner == "@" { self.origin.clone() } else { self.absolute(&self.owner) });
            return Line::Blank;
        }
        let effect = match (kind.to_ascii_uppercase().as_str(), said) {
            ("CNAME", Some(target)) => match target.to_ascii_lowercase().as_str() {
                "rpz-passthru." => Effect::Except,
                "rpz-tcp-only." => return Line::Foreign,
                // The older form of the same: it stands for itself.
                target
                    if self.absolute(target.trim_start_matches("*."))
                        == self.named(self.owner.trim_start_matches("*.")) =>
                {
                    Effect::Except
                }
                _ => Effect::Block,
            },
            // Who is led elsewhere is not led where it would.
            ("A" | "AAAA", Some(_)) => Effect::Block,
            ("NS" | "TXT" | "DNSKEY" | "RRSIG" | "NSEC" | "NSEC3" | "DS" | "MX" | "SRV" | "PTR", Some(_)) => {
                return Line::Blank;
            }
            _ => return Line::Wrong,
        };
        self.trigger(effect, tell)
    }

    fn directive(&mut self, name: &str, value: Option<&str>) -> Line {
        match (name.to_ascii_uppercase().as_str(), value) {
            ("$ORIGIN", Some(origin)) => {
                self.origin = self.absolute(origin);
                // A zone that has begun without its name is named by the first one that is said.
                let is_nameless = self.apex.as_deref().is_none_or(str::is_empty);
                if is_nameless && origin.ends_with('.') {
                    self.apex = Some(self.origin.clone());
                }
                Line::Blank
            }
            ("$TTL", Some(_)) => Line::Blank,
            _ => Line::Wrong,
        }
    }

    /// What the last owner stands for.
    fn trigger(&self, effect: Effect, tell: &mut dyn FnMut(Rule<'_>)) -> Line {
        let name = self.named(&self.owner);
        if OF_ADDRESSES.iter().any(|mark| name.ends_with(mark)) {
            return Line::Foreign;
        }
        let (name, below) = match name.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (&*name, false),
        };
        if self.owner == "@" || name.is_empty() {
            return Line::Blank;
        }
        // Nothing is below an address.
        let Some(name) = Name::of(name).filter(|name| !(below && name.is_address())) else { return Line::Wrong };
        tell(Rule { host: name.as_str(), itself: !below, below, effect, revokes: false });
        Line::Hosts
    }

    /// What an owner is about: its name without that of the zone.
    fn named(&self, owner: &str) -> String {
        let full = self.absolute(owner);
        let apex = self.apex.as_deref().unwrap_or(&self.origin);
        let within = full.strip_suffix(apex).filter(|_| !apex.is_empty());
        match within.and_then(|name| if name.is_empty() { Some(name) } else { name.strip_suffix('.') }) {
            Some(name) => name.to_owned(),
            None => full,
        }
    }

    /// A name with what it is relative to, in lower case, without the dot at its end.
    fn absolute(&self, name: &str) -> String {
        let lower = name.to_ascii_lowercase();
        match lower.strip_suffix('.') {
            Some(absolute) => absolute.to_owned(),
            None if lower == "@" => self.origin.clone(),
            None if self.origin.is_empty() => lower,
            None => format!("{lower}.{}", self.origin),
        }
    }
}

/// Triggers of other kinds: addresses, clients, name servers.
const OF_ADDRESSES: [&str; 4] = [".rpz-ip", ".rpz-client-ip", ".rpz-nsdname", ".rpz-nsip"];

/// A semicolon inside of quotes begins no comment.
fn without_comment(text: &str) -> &str {
    let mut quoted = false;
    let end = text.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b';' && !quoted
    });
    end.map_or(text, |end| &text[..end])
}
