//! gRPC over HTTP ("gRPC over HTTP2" of its authors): which requests are calls, how long they may take, and how they end.
//!
//! - [`code`]: how a call has ended
//! - [`timeout`]: how long it may take
//! - [`web`]: the form in which browsers speak it

mod code;
mod timeout;
pub mod web;

pub use code::{Code, message};
pub use timeout::{NoTimeout, timeout, write_timeout};

use crate::head::{Head, Method};

/// In which form a call comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/grpc`: trailers hold its status.
    Native,
    /// `application/grpc-web`: the last frame of its content does.
    Web,
    /// `application/grpc-web-text`: the same in base64.
    WebText,
}

/// The form of the call that the request is, if it is one.
pub fn form(request: &Head) -> Option<Form> {
    if request.method() != Method::Post {
        return None;
    }
    Some(content_type(request.value(b"content-type")?)?.0)
}

/// What a `Content-Type` says of the form, and what follows it: `+proto` and the like, and parameters.
pub fn content_type(value: &[u8]) -> Option<(Form, &[u8])> {
    let (start, rest) = value.split_at_checked(GRPC.len())?;
    if !start.eq_ignore_ascii_case(GRPC) {
        return None;
    }
    // The longest name first: each of them begins with the next.
    [(Form::WebText, &b"-web-text"[..]), (Form::Web, b"-web"), (Form::Native, b"")].into_iter().find_map(
        |(form, name)| {
            let (start, rest) = rest.split_at_checked(name.len())?;
            let ends = matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'));
            (start.eq_ignore_ascii_case(name) && ends).then_some((form, rest))
        },
    )
}

/// The service and the method that a path names: `/helloworld.Greeter/SayHello`.
pub fn service_and_method(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let path = path.strip_prefix(b"/")?;
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    let (service, method) = (&path[..slash], &path[slash + 1..]);
    (!service.is_empty() && !method.is_empty()).then_some((service, method))
}

impl Form {
    /// The content type of this form.
    pub const fn media_type(self) -> &'static str {
        match self {
            Form::Native => "application/grpc",
            Form::Web => "application/grpc-web",
            Form::WebText => "application/grpc-web-text",
        }
    }
}

const GRPC: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_names_one_form() {
        let form = |value: &'static str| content_type(value.as_bytes());
        assert_eq!(form("application/grpc"), Some((Form::Native, &b""[..])));
        assert_eq!(form("Application/GRPC+proto"), Some((Form::Native, &b"+proto"[..])));
        assert_eq!(form("application/grpc; charset=x"), Some((Form::Native, &b"; charset=x"[..])));
        assert_eq!(form("application/grpc-web"), Some((Form::Web, &b""[..])));
        assert_eq!(form("application/grpc-web+json"), Some((Form::Web, &b"+json"[..])));
        assert_eq!(form("application/grpc-web-text+proto"), Some((Form::WebText, &b"+proto"[..])));
        for other in ["application/grpcx", "application/grpc-webx", "application/grp", "application/json", ""] {
            assert_eq!(form(other), None, "{other}");
        }
    }

    #[test]
    fn only_a_post_is_a_call() {
        let mut head = Head::default();
        head.start_request(b"GET", b"a", b"/a.B/C", None);
        head.add(b"Content-Type", b"application/grpc");
        assert_eq!(form(&head), None);
        head.start_request(b"POST", b"a", b"/a.B/C", None);
        assert_eq!(form(&head), None);
        head.add(b"content-type", b"application/grpc");
        assert_eq!(form(&head), Some(Form::Native));
    }

    #[test]
    fn a_path_names_service_and_method() {
        assert_eq!(service_and_method(b"/a.B/C"), Some((&b"a.B"[..], &b"C"[..])));
        assert_eq!(service_and_method(b"/v1/a.B/C"), Some((&b"v1/a.B"[..], &b"C"[..])));
        for none in ["", "/", "/a", "/a/", "//b", "a/b"] {
            assert_eq!(service_and_method(none.as_bytes()), None, "{none}");
        }
    }
}
