//! The first message of a client of PostgreSQL (its manual, "Message Flow" and "Message Formats"), read without taking part: whom it
//! wants to be, and which database it wants. Before it a client may ask for TLS or GSSAPI, and waits for an answer of one byte.
//!
//! What two readers could understand differently (a parameter that is there twice, a name that a server would cut) is said to be
//! something else, which is an answer like any other.

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// The user, never empty.
    pub user: Box<[u8]>,
    /// The database: the user's name where none is said, as servers have it.
    pub database: Box<[u8]>,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A whole StartupMessage.
    Startup(Startup),
    /// A whole question, of eight bytes, after which the client waits for an answer.
    Asks(Wish),
    /// The beginning of either.
    Partial,
    /// Something else.
    Other,
}

/// What a client asks for before its StartupMessage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SSLRequest.
    Tls,
    /// GSSENCRequest.
    Gss,
}

/// The question for TLS, as it is asked.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The question for encryption by GSSAPI.
pub const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];
/// TLS may begin.
pub const WILLING: u8 = b'S';
/// What was asked for is not there; the client may go on without it, or leave.
pub const UNWILLING: u8 = b'N';
/// The longest StartupMessage that servers take.
pub const MOST: usize = 10_000;

/// Servers cut names that are longer, so that another user than the one that was compared would be logged in.
const LONGEST_NAME: usize = 63;

/// Reads the first bytes of a connection.
pub fn read(bytes: &[u8]) -> Seen {
    let Some((head, rest)) = bytes.split_first_chunk::<8>() else {
        // What has come of a length is enough to see that it is none.
        let may_be_a_length = bytes.iter().take(2).all(|byte| *byte == 0);
        return if may_be_a_length { Seen::Partial } else { Seen::Other };
    };
    match *head {
        SSL_REQUEST => return Seen::Asks(Wish::Tls),
        GSS_REQUEST => return Seen::Asks(Wish::Gss),
        _ => {}
    }
    let [one, two, three, four, 0, 3, ..] = *head else { return Seen::Other };
    let length = u32::from_be_bytes([one, two, three, four]) as usize;
    if !(8..=MOST).contains(&length) {
        return Seen::Other;
    }
    match rest.get(..length - 8) {
        None => Seen::Partial,
        Some(parameters) => parse(parameters).map_or(Seen::Other, Seen::Startup),
    }
}

/// Pairs of texts that end with a zero, and a zero behind them.
fn parse(mut rest: &[u8]) -> Option<Startup> {
    let (mut user, mut database) = (None, None);
    loop {
        let name = text(&mut rest)?;
        if name.is_empty() {
            break;
        }
        let value = text(&mut rest)?;
        let place = match name {
            b"user" => &mut user,
            b"database" => &mut database,
            _ => continue,
        };
        if value.len() > LONGEST_NAME || place.replace(value).is_some() {
            return None;
        }
    }
    let user = user.filter(|user| rest.is_empty() && !user.is_empty())?;
    let database = database.filter(|database| !database.is_empty()).unwrap_or(user);
    Some(Startup { user: user.into(), database: database.into() })
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (text, after) = rest.split_at(memchr::memchr(0, rest)?);
    *rest = &after[1..];
    Some(text)
}

/// What a client is told in the place of a server's first words, if TLS is between us and the server alone: ways to log in that are
/// bound to TLS (channel binding, RFC 5802 section 6) are nothing that it could use, and it would take them for an attack. Nothing
/// while they are incomplete.
pub fn without_binding(words: &[u8]) -> Option<Vec<u8>> {
    const NEGOTIATE: u8 = b'v';
    const AUTHENTICATION: u8 = b'R';
    const SASL: &[u8] = &[0, 0, 0, 10];
    let mut at = 0;
    loop {
        let (head, rest) = words.get(at..)?.split_first_chunk::<5>()?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        // A server negotiates once: one that did it again and again would be listened to without end.
        let is_expected = head[0] == AUTHENTICATION || (head[0] == NEGOTIATE && at == 0);
        if !is_expected || !(4..=MOST).contains(&length) {
            return Some(words.to_vec());
        }
        let (content, after) = rest.split_at_checked(length - 4)?;
        if head[0] == NEGOTIATE {
            at += 1 + length;
            continue;
        }
        let Some(ways) = content.strip_prefix(SASL) else { return Some(words.to_vec()) };
        let free: Vec<&[u8]> =
            ways.split_inclusive(|byte| *byte == 0).filter(|way| !way.ends_with(b"-PLUS\0")).collect();
        let mut told = words[..at].to_vec();
        told.push(AUTHENTICATION);
        told.extend_from_slice(&(8 + free.concat().len() as u32).to_be_bytes());
        told.extend_from_slice(&[SASL, &free.concat(), after].concat());
        return Some(told);
    }
}

/// What a client is told that is refused, in a form that every client prints: an ErrorResponse with its SQLSTATE.
pub fn refusal(state: &str, text: &str, out: &mut Vec<u8>) {
    let fields = format!("SFATAL\0VFATAL\0C{state}\0M{text}\0\0");
    out.push(b'E');
    out.extend_from_slice(&(4 + fields.len() as u32).to_be_bytes());
    out.extend_from_slice(fields.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn startup(minor: u8, parameters: &[u8]) -> Vec<u8> {
        [&(8 + parameters.len() as u32).to_be_bytes()[..], &[0, 3, 0, minor], parameters].concat()
    }

    fn of(user: &str, database: &str) -> Seen {
        Seen::Startup(Startup { user: user.as_bytes().into(), database: database.as_bytes().into() })
    }

    #[test]
    fn users_and_databases_are_found_and_nothing_before_the_last_byte() {
        let bytes = startup(0, b"user\0anna\0application_name\0psql\0database\0shop\0\0");
        assert_eq!(read(&bytes), of("anna", "shop"));
        assert_eq!(read(&[&bytes[..], b"more"].concat()), of("anna", "shop"));
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length]), Seen::Partial, "{length}");
        }
        for (parameters, database) in [(&b"user\0anna\0\0"[..], "anna"), (b"database\0\0user\0anna\0\0", "anna")] {
            assert_eq!(read(&startup(2, parameters)), of("anna", database));
        }
    }

    #[test]
    fn questions_before_it() {
        assert_eq!(read(&SSL_REQUEST), Seen::Asks(Wish::Tls));
        assert_eq!(read(&GSS_REQUEST), Seen::Asks(Wish::Gss));
        assert_eq!(read(&SSL_REQUEST[..7]), Seen::Partial);
    }

    #[test]
    fn what_two_readers_could_take_for_two_users_is_none() {
        let long = [b"user\0", &[b'a'; 64][..], b"\0\0"].concat();
        for parameters in [
            &b"user\0a\0user\0b\0\0"[..],
            b"user\0a\0database\0b\0database\0c\0\0",
            b"user\0\0\0",
            b"database\0b\0\0",
            b"user\0a\0",
            b"user\0a\0\0more\0",
            b"user\0a",
            b"\0",
            b"",
            &long,
        ] {
            assert_eq!(read(&startup(0, parameters)), Seen::Other, "{parameters:?}");
        }
        // Version 2, a cancel request, other protocols, a length that is none.
        for bytes in [
            &[0, 0, 0, 12, 0, 2, 0, 0, 0, 0, 0, 0][..],
            &[0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 2],
            b"GET / HTTP/1.1",
            b"\x16\x03",
            &[0, 0, 0, 7, 0, 3, 0, 0],
            &[0, 1, 0, 0, 0, 3, 0, 0],
        ] {
            assert_eq!(read(bytes), Seen::Other, "{bytes:?}");
        }
    }

    #[test]
    fn ways_to_log_in_that_are_bound_to_tls_are_left_out() {
        let message =
            |kind: u8, content: &[u8]| [&[kind][..], &(4 + content.len() as u32).to_be_bytes(), content].concat();
        let sasl = |ways: &[u8]| message(b'R', &[&[0, 0, 0, 10][..], ways, &[0]].concat());
        let offered = sasl(b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0");
        for length in 0..offered.len() {
            assert_eq!(without_binding(&offered[..length]), None, "{length}");
        }
        assert_eq!(without_binding(&offered), Some(sasl(b"SCRAM-SHA-256\0")));
        let (new, more) = (message(b'v', &[0, 0, 0, 0, 0, 0, 0, 0]), message(b'S', b"a\0b\0"));
        let whole = [&new[..], &offered, &more].concat();
        assert_eq!(without_binding(&whole), Some([&new[..], &sasl(b"SCRAM-SHA-256\0"), &more].concat()));
        let again = new.repeat(2);
        assert_eq!(without_binding(&new), None);
        assert_eq!(without_binding(&again[..new.len() + 4]), None);
        for other in [
            again,
            sasl(b"SCRAM-SHA-256\0"),
            message(b'R', &[0, 0, 0, 0]),
            message(b'E', b"SFATAL\0\0"),
            b"HTTP/1.1".to_vec(),
        ] {
            assert_eq!(without_binding(&other), Some(other));
        }
    }

    #[test]
    fn refusals_are_whole_messages() {
        let mut out = Vec::new();
        refusal("28000", "no", &mut out);
        assert_eq!(out, b"E\0\0\0\x1eSFATAL\0VFATAL\0C28000\0Mno\0\0");
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            read(&bytes);
            read(&startup(0, &bytes));
            without_binding(&[&b"R\0\0\0"[..], &bytes].concat());
            let mut real = startup(0, b"user\0anna\0database\0shop\0\0");
            let at = at.index(real.len());
            real[at] = byte;
            read(&real);
        }

        #[test]
        fn what_is_written_is_read(user in "[^\0]{1,15}", database in "[^\0]{1,15}", other in "[^\0]{0,99}") {
            let parameters = format!("user\0{user}\0options\0{other}\0database\0{database}\0\0");
            prop_assert_eq!(read(&startup(0, parameters.as_bytes())), of(&user, &database));
        }
    }
}
