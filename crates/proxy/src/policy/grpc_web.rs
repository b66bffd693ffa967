//! Calls of browsers as plain calls of gRPC, and back. Browsers see no trailers, and speak gRPC-Web instead: the same messages,
//! with a frame behind them that holds what trailers would; in base64 where they can read only text.

use wire::grpc::web::{Decoder, Encoder};
use wire::grpc::{self, Form};
use wire::{Framing, Head, hop};

use crate::relay::{Text, Transform};

/// Makes the head that of a plain call; answers what its content needs, and the form in which its client wants the answer.
pub(crate) fn forwards(request: &mut Head, form: Form) -> (Option<Transform>, Form) {
    let wanted = wanted(request).unwrap_or(form);
    rename(request, Form::Native);
    if form != Form::WebText {
        return (None, wanted);
    }
    if !matches!(request.framing(), Framing::None | Framing::Length(0)) {
        request.set_framing(Framing::Unknown);
    }
    (Some(Transform::FromText(Decoder::default())), wanted)
}

/// Makes the head of the answer what the client can read; answers what its content needs. An answer that is none of gRPC is
/// nothing that could be translated.
pub(crate) fn backwards(response: &mut Head, wanted: Form) -> Option<Transform> {
    let is_call =
        response.value(b"content-type").and_then(grpc::content_type).is_some_and(|(form, _)| form == Form::Native);
    if !is_call {
        return None;
    }
    rename(response, wanted);
    // A status in the head ends the call: there is no content, and nothing stands behind it.
    if response.value(b"grpc-status").is_some() {
        return None;
    }
    Some(Transform::ToWeb(if wanted == Form::WebText { Text::Base64(Encoder::default()) } else { Text::Plain }))
}

/// The form that the client asks for, which may be another than the one it speaks.
fn wanted(request: &Head) -> Option<Form> {
    let mut forms = request.values(b"accept").flat_map(hop::options).filter_map(grpc::content_type);
    forms.find_map(|(form, _)| (form != Form::Native).then_some(form))
}

/// Changes the form, and nothing else, in what the content type says.
fn rename(head: &mut Head, form: Form) {
    let said = head.value(b"content-type").unwrap_or_default();
    let Some((_, rest)) = grpc::content_type(said) else { return };
    let renamed = [form.media_type().as_bytes(), rest].concat();
    head.set(b"Content-Type", &renamed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(content_type: &str, accept: &str) -> Head {
        let mut head = Head::default();
        head.start_request(b"POST", b"a", b"/a.B/C", None);
        head.set_framing(Framing::Length(8));
        head.add(b"content-type", content_type.as_bytes());
        if !accept.is_empty() {
            head.add(b"Accept", accept.as_bytes());
        }
        head
    }

    fn answer(content_type: &str) -> Head {
        let mut head = Head::default();
        head.start_response(200);
        head.add(b"content-type", content_type.as_bytes());
        head
    }

    #[test]
    fn the_form_changes_and_the_messages_kind_stays() {
        let mut head = call("application/grpc-web+proto", "");
        let (transform, wanted) = forwards(&mut head, Form::Web);
        assert!(transform.is_none() && wanted == Form::Web);
        assert_eq!(head.value(b"content-type"), Some(&b"application/grpc+proto"[..]));
        assert_eq!(head.framing(), Framing::Length(8));
        let mut head = call("application/grpc-web-text", "");
        let (transform, wanted) = forwards(&mut head, Form::WebText);
        assert!(matches!(transform, Some(Transform::FromText(_))) && wanted == Form::WebText);
        assert_eq!(head.framing(), Framing::Unknown);
    }

    #[test]
    fn the_answer_has_the_form_that_was_asked_for() {
        let mut head = call("application/grpc-web+proto", "text/html, application/grpc-web-text+proto");
        assert_eq!(forwards(&mut head, Form::Web).1, Form::WebText);
        let mut head = answer("application/grpc+proto");
        let transform = backwards(&mut head, Form::WebText);
        assert!(matches!(transform, Some(Transform::ToWeb(Text::Base64(_)))));
        assert_eq!(head.value(b"content-type"), Some(&b"application/grpc-web-text+proto"[..]));
        let mut head = answer("application/grpc");
        assert!(matches!(backwards(&mut head, Form::Web), Some(Transform::ToWeb(Text::Plain))));
    }

    #[test]
    fn a_status_in_the_head_needs_no_frame_and_a_page_no_translation() {
        let mut head = answer("application/grpc");
        head.add(b"grpc-status", b"5");
        assert!(backwards(&mut head, Form::Web).is_none());
        assert_eq!(head.value(b"content-type"), Some(&b"application/grpc-web"[..]));
        let mut head = answer("text/html");
        assert!(backwards(&mut head, Form::Web).is_none());
        assert_eq!(head.value(b"content-type"), Some(&b"text/html"[..]));
    }
}
