//! Answers in a content coding that their client would have.

use wire::coding::{self, Coding};
use wire::{Head, Version};

use super::media_type::{MediaType, essence};
use crate::relay::Recipe;

/// What is compressed, and how.
#[derive(Debug)]
pub struct Compress {
    /// The codings that there are, the one that is liked best first.
    pub recipes: Box<[Recipe]>,
    /// Shorter content stays as it is.
    pub min_size: u64,
    /// What content has to be.
    pub types: Box<[MediaType]>,
    /// Whether servers are asked to leave it to us.
    pub offload: bool,
    /// Contents that the process has under way into a coding; others go as they are.
    pub at_once: usize,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// The coding that it would have.
    pub(crate) wish: Option<Coding>,
    /// What it speaks.
    pub(crate) version: Version,
}

impl Compress {
    /// The coding that the request would have. Policies have not touched it yet: what they take out is meant for servers.
    pub(crate) fn wish(&self, request: &Head) -> Option<Coding> {
        let mut codings = [Coding::Gzip; Coding::ALL.len()];
        let count = self.recipes.len().min(codings.len());
        for (coding, recipe) in codings.iter_mut().zip(&self.recipes) {
            *coding = recipe.coding;
        }
        coding::wish(request, &codings[..count]).filter(|_| !coding::is_final(request))
    }

    /// Leaves it to us.
    pub(crate) fn forwards(&self, request: &mut Head) {
        if self.offload {
            request.set(b"Accept-Encoding", b"identity");
        }
    }

    /// The recipe for the content of this response, if it is to have one. The head is told by [`coded`](Compress::coded), once
    /// there is an encoder; that the answer depends on `Accept-Encoding` is said here, whoever asks.
    pub(crate) fn choose(&self, client: Client, request: &Head, response: &mut Head) -> Option<Recipe> {
        match response.status() {
            304 => {
                // RFC 9110 section 15.4.5: with what the answer to a GET would say.
                coding::vary(response);
                if response.value(b"etag").is_some_and(|tag| coding::asks_weakly(request, tag)) {
                    coding::weaken(response);
                }
                return None;
            }
            // No content.
            100..200 | 204 | 205 => return None,
            _ => {}
        }
        let is_text = response.value(b"content-type").is_some_and(|value| self.is_of_type(value));
        let speaks_of_its_bytes = DIGESTS.iter().any(|name| response.value(name).is_some());
        if !is_text || speaks_of_its_bytes || coding::is_final(response) {
            return None;
        }
        if response.status() == 206 {
            // A part whose bytes are counted. The whole would vary (RFC 9110 section 15.3.7), and a cache may put one together of parts.
            coding::vary(response);
            return None;
        }
        // What says no length may be long.
        if coding::said_length(response).is_some_and(|length| length < self.min_size.max(1)) {
            return None;
        }
        coding::vary(response);
        // To HTTP/1.0 only the end of the connection could mark the end, and a cut would look like it.
        if response.value(b"content-encoding").is_some() || client.version == Version::H10 {
            return None;
        }
        self.recipes.iter().copied().find(|recipe| Some(recipe.coding) == client.wish)
    }

    /// Says in the head what becomes of the content.
    pub(crate) fn coded(response: &mut Head, recipe: Recipe) {
        coding::encoded(response, recipe.coding);
    }

    fn is_of_type(&self, content_type: &[u8]) -> bool {
        // Each stream that never ends would hold an encoder for as long as somebody listens.
        self.types.iter().any(|pattern| pattern.holds_of_what_ends(essence(content_type)))
    }
}

/// Fields that hold for the bytes that the server has sent (RFC 9530), and would have to go with them.
const DIGESTS: [&[u8]; 4] = [b"content-digest", b"repr-digest", b"digest", b"content-md5"];

#[cfg(test)]
mod tests {
    use wire::Framing;

    use super::*;
    use crate::policy::media_type::ENDLESS;

    const GZIP: Recipe = Recipe { coding: Coding::Gzip, level: 5 };
    const ZSTD: Recipe = Recipe { coding: Coding::Zstd, level: 3 };

    fn policy() -> Compress {
        Compress {
            recipes: [ZSTD, GZIP].into(),
            min_size: 1024,
            types: [
                MediaType::Prefix("text/".into()),
                MediaType::Exact("application/json".into()),
                MediaType::Suffix("application/".into(), "+json".into()),
            ]
            .into(),
            offload: false,
            at_once: 1,
        }
    }

    fn request(fields: &[(&str, &str)]) -> Head {
        let mut head = Head::default();
        head.start_request(b"GET", b"a", b"/", None);
        for (name, value) in fields {
            head.add(name.as_bytes(), value.as_bytes());
        }
        head
    }

    fn response(status: u16, framing: Framing, fields: &[(&str, &str)]) -> Head {
        let mut head = Head::default();
        head.start_response(status);
        head.set_framing(framing);
        for (name, value) in fields {
            head.add(name.as_bytes(), value.as_bytes());
        }
        head
    }

    /// The recipe for a response to a client that takes anything, and whether it varies.
    fn chosen(mut response: Head) -> (Option<Recipe>, bool) {
        let request = request(&[("accept-encoding", "gzip, zstd")]);
        let client = Client { wish: policy().wish(&request), version: Version::H11 };
        let recipe = policy().choose(client, &request, &mut response);
        (recipe, response.value(b"vary").is_some())
    }

    const TEXT: (&str, &str) = ("content-type", "text/plain; charset=utf-8");

    #[test]
    fn what_is_text_and_long_is_compressed() {
        assert_eq!(chosen(response(200, Framing::Length(1024), &[TEXT])), (Some(ZSTD), true));
        assert_eq!(chosen(response(200, Framing::Unknown, &[TEXT])), (Some(ZSTD), true));
        assert_eq!(chosen(response(404, Framing::UntilClose, &[TEXT])), (Some(ZSTD), true));
        assert_eq!(chosen(response(200, Framing::Length(1023), &[TEXT])), (None, false));
        assert_eq!(chosen(response(200, Framing::Length(4096), &[])), (None, false));
    }

    #[test]
    fn the_answer_to_a_head_says_what_that_to_a_get_would() {
        assert_eq!(chosen(response(200, Framing::None, &[TEXT, ("content-length", "2048")])), (Some(ZSTD), true));
        assert_eq!(chosen(response(200, Framing::None, &[TEXT, ("content-length", "8")])), (None, false));
        assert_eq!(chosen(response(200, Framing::None, &[TEXT])), (Some(ZSTD), true));
    }

    #[test]
    fn what_is_coded_partial_or_bound_to_its_bytes_stays() {
        let long = |fields: &[(&str, &str)]| chosen(response(200, Framing::Length(4096), &[&[TEXT], fields].concat()));
        assert_eq!(long(&[("content-encoding", "br")]), (None, true));
        assert_eq!(long(&[("cache-control", "public, No-Transform")]), (None, false));
        assert_eq!(long(&[("repr-digest", "sha-256=:AA==:")]), (None, false));
        assert_eq!(chosen(response(206, Framing::Length(4), &[TEXT])), (None, true));
        assert_eq!(chosen(response(206, Framing::Length(4), &[("content-type", "image/png")])), (None, false));
        assert_eq!(chosen(response(204, Framing::None, &[TEXT])), (None, false));
    }

    #[test]
    fn who_cannot_read_it_gets_it_as_it_is_and_caches_know() {
        let mut answer = response(200, Framing::Unknown, &[TEXT]);
        let asked = request(&[("accept-encoding", "gzip"), ("cache-control", "no-transform")]);
        let wish = policy().wish(&asked);
        assert_eq!(wish, None);
        assert_eq!(policy().choose(Client { wish, version: Version::H11 }, &asked, &mut answer), None);
        assert!(answer.value(b"vary").is_some());
        let mut answer = response(200, Framing::Unknown, &[TEXT]);
        let old = Client { wish: Some(Coding::Gzip), version: Version::H10 };
        assert_eq!(policy().choose(old, &asked, &mut answer), None);
    }

    #[test]
    fn a_validator_that_was_weakened_is_weak_when_it_still_holds() {
        for (asked, said) in [("W/\"a\"", "W/\"a\""), ("\"a\"", "\"a\"")] {
            let mut answer = response(304, Framing::None, &[("etag", "\"a\"")]);
            let request = request(&[("if-none-match", asked)]);
            policy().choose(Client { wish: None, version: Version::H11 }, &request, &mut answer);
            assert_eq!(answer.value(b"etag"), Some(said.as_bytes()));
            assert_eq!(answer.value(b"vary"), Some(&b"Accept-Encoding"[..]));
        }
    }

    #[test]
    fn types_are_what_their_patterns_say() {
        let is = |value: &str| policy().is_of_type(value.as_bytes());
        for yes in ["text/html", "TEXT/CSS ; q=1", "application/json", "application/problem+json", "application/a+Json"]
        {
            assert!(is(yes), "{yes}");
        }
        for no in ["text", "image/png", "application/jsonx", "application/+jso", "text/event-stream", "", "+json"] {
            assert!(!is(no), "{no}");
        }
        assert!(MediaType::Exact(ENDLESS.into()).holds_of_what_ends(b"Text/Event-Stream"));
    }
}
