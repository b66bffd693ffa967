//! Whom a client's certificate is for. The library judges the certificate and does not tell.

use super::der::{BOOLEAN, EXTENSIONS, INTEGER, OBJECT, OCTETS, SEQUENCE, SET, VERSION, any, element};

/// Whom a certificate is for, in the forms of RFC 5280 section 4.1.2.6 and 4.2.1.6: of each form the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The common name of the subject, the innermost if there are several.
    pub common_name: Option<Box<str>>,
    /// A DNS name.
    pub dns: Option<Box<str>>,
    /// An address of mail.
    pub email: Option<Box<str>>,
    /// A URI, such as a SPIFFE id.
    pub uri: Option<Box<str>>,
}

impl Subject {
    /// Reads it from a certificate in DER. What cannot be read is not there.
    pub fn of(certificate: &[u8]) -> Subject {
        let mut subject = Subject::default();
        // What was read before something odd stays.
        let _ = read(certificate, &mut subject);
        subject
    }
}

fn read(certificate: &[u8], subject: &mut Subject) -> Option<()> {
    let (whole, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(whole, SEQUENCE)?;
    if let Some((_, after)) = element(rest, VERSION) {
        rest = after;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE] {
        // The serial number, the algorithm of the signature, the issuer, the validity.
        rest = element(rest, tag)?.1;
    }
    let (name, mut rest) = element(rest, SEQUENCE)?;
    subject.common_name = common_name(name);
    // The key, and ids that nobody uses any more.
    rest = element(rest, SEQUENCE)?.1;
    while !rest.is_empty() {
        let (tag, content, after) = any(rest)?;
        if tag == EXTENSIONS {
            alternatives(element(content, SEQUENCE)?.0, subject);
        }
        rest = after;
    }
    Some(())
}

fn common_name(mut name: &[u8]) -> Option<Box<str>> {
    let mut found = None;
    while let Some((set, rest)) = element(name, SET) {
        let mut set = set;
        while let Some((pair, rest)) = element(set, SEQUENCE) {
            if let Some((COMMON_NAME, value)) = element(pair, OBJECT)
                && let Some((UTF8 | PRINTABLE | IA5, value, _)) = any(value)
            {
                found = text(value);
            }
            set = rest;
        }
        name = rest;
    }
    found
}

fn alternatives(mut extensions: &[u8], subject: &mut Subject) {
    while let Some((extension, rest)) = element(extensions, SEQUENCE) {
        extensions = rest;
        let Some((ALTERNATIVE_NAME, value)) = element(extension, OBJECT) else { continue };
        // Whether it is critical may be said between.
        let value = element(value, BOOLEAN).map_or(value, |(_, rest)| rest);
        let names = element(value, OCTETS).and_then(|(value, _)| element(value, SEQUENCE));
        let Some((mut names, _)) = names else { continue };
        while let Some((tag, name, rest)) = any(names) {
            let place = match tag {
                0x81 => &mut subject.email,
                0x82 => &mut subject.dns,
                0x86 => &mut subject.uri,
                _ => {
                    names = rest;
                    continue;
                }
            };
            if place.is_none() {
                *place = text(name);
            }
            names = rest;
        }
    }
}

/// A name that can be shown: whoever signs certificates may be careless, a log may not.
fn text(bytes: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control)).then(|| text.into())
}

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(name: &str, alternatives: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = alternatives;
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().to_vec()
    }

    #[test]
    fn each_form_is_found() {
        let ascii = |text: &str| text.try_into().expect("ASCII");
        let der = certificate(
            "Ann Lee",
            vec![
                SanType::IpAddress([192, 0, 2, 1].into()),
                SanType::Rfc822Name(ascii("ann@example.com")),
                SanType::DnsName(ascii("ann.example.com")),
                SanType::DnsName(ascii("other.example.com")),
                SanType::URI(ascii("spiffe://example.com/ann")),
            ],
        );
        let text = |text: &str| Some(text.into());
        let wanted = Subject {
            common_name: text("Ann Lee"),
            dns: text("ann.example.com"),
            email: text("ann@example.com"),
            uri: text("spiffe://example.com/ann"),
        };
        assert_eq!(Subject::of(&der), wanted);
        assert_eq!(Subject::of(&certificate("a\nb", Vec::new())), Subject::default());
    }

    #[test]
    fn what_is_cut_is_read_as_far_as_it_goes() {
        let der = certificate("Ann", Vec::new());
        for length in 0..der.len() {
            assert_eq!(Subject::of(&der[..length]), Subject::default(), "{length}");
        }
    }
}
