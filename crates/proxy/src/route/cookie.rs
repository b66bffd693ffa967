//! Cookies of a request (RFC 6265 section 4.2).

use wire::{Head, Known};

/// The first cookie with this name.
pub fn cookie<'a>(head: &'a Head, name: &[u8]) -> Option<&'a [u8]> {
    values(head, name).next()
}

/// The values of all cookies with this name, over all `Cookie` fields. Quotes are part of a value (section 5.2), names
/// differ in letter case, and what has no `=` has no name.
pub(crate) fn values<'a>(head: &'a Head, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let pairs = head.values_of(Known::Cookie).flat_map(|field| field.split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let equals = memchr::memchr(b'=', pair)?;
        (pair[..equals].trim_ascii() == name).then(|| pair[equals + 1..].trim_ascii())
    })
}

/// Takes all cookies of this name away; whatever else the fields hold stays as it was written.
pub(crate) fn remove(head: &mut Head, name: &[u8]) {
    let is_named = |pair: &[u8]| memchr::memchr(b'=', pair).is_some_and(|equals| pair[..equals].trim_ascii() == name);
    let pairs = |field: &[u8]| field.split(|byte| *byte == b';').map(<[u8]>::to_vec).collect::<Vec<_>>();
    if values(head, name).next().is_none() {
        return;
    }
    let fields: Vec<Vec<Vec<u8>>> = head.values_of(Known::Cookie).map(pairs).collect();
    head.remove_known(Known::Cookie);
    for mut pairs in fields {
        pairs.retain(|pair| !is_named(pair));
        let field = pairs.join(&b';');
        if !field.trim_ascii().is_empty() {
            head.add(b"Cookie", field.trim_ascii());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fields: &[&str], name: &str) -> Vec<String> {
        let mut head = Head::default();
        head.start_request(b"GET", b"a", b"/", None);
        for field in fields {
            head.add(b"cookie", field.as_bytes());
        }
        values(&head, name.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    #[test]
    fn every_field_and_every_pair_counts() {
        assert_eq!(found(&["a=1; b=2;a=3", "c=4; a=5"], "a"), ["1", "3", "5"]);
        assert_eq!(found(&["a=1; b=2"], "b"), ["2"]);
        assert_eq!(found(&["a=1"], "A"), [""; 0]);
        assert_eq!(found(&[], "a"), [""; 0]);
    }

    #[test]
    fn what_is_removed_is_gone_and_the_rest_is_as_it_was() {
        let left = |fields: &[&str]| -> Vec<String> {
            let mut head = Head::default();
            head.start_request(b"GET", b"a", b"/", None);
            fields.iter().for_each(|field| head.add(b"cookie", field.as_bytes()));
            remove(&mut head, b"c");
            head.values_of(Known::Cookie).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
        };
        assert_eq!(left(&["a=1; c=2; b=3"]), ["a=1; b=3"]);
        assert_eq!(left(&["c=2;b=3", "c=1", "d=\"x\";c=;c"]), ["b=3", "d=\"x\";c"]);
        assert_eq!(left(&["a=1; ;b=2 "]), ["a=1; ;b=2 "]);
    }

    #[test]
    fn odd_pairs_are_read_plainly() {
        assert_eq!(found(&["a=x=y"], "a"), ["x=y"]);
        assert_eq!(found(&["a=\"q\""], "a"), ["\"q\""]);
        assert_eq!(found(&[";; a ;=a; a= "], "a"), [""]);
        assert_eq!(found(&["xa=1; a x=2"], "a"), [""; 0]);
    }
}
