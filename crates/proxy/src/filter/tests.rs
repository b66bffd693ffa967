use super::*;

fn filter(types: &[&str], except: &[&str]) -> Filter {
    let pattern = |text: &&str| match text.strip_suffix('*') {
        Some("*/") => MediaType::Prefix("".into()),
        Some(start) => MediaType::Prefix(start.into()),
        None => MediaType::Exact((*text).into()),
    };
    Filter {
        types: types.iter().map(pattern).collect(),
        except: except.iter().map(pattern).collect(),
        over: None,
        words: None,
        deny: Deny { status: 403, reason: None, contact: None },
        report: Arc::new(Report::new("f", 1)),
    }
}

fn response(types: &[&str]) -> Head {
    let mut head = Head::default();
    head.start_response(200);
    types.iter().for_each(|value| head.add(b"Content-Type", value.as_bytes()));
    head
}

#[test]
fn a_type_is_refused_unless_it_is_an_exception() {
    let films = filter(&["video/*"], &["video/webm"]);
    let refused = |types: &[&str]| films.refused_type(&content_type::readings(&response(types)));
    assert_eq!(refused(&["Video/MP4; codecs=\"a,b/c\""]).as_deref(), Some("type Video/MP4"));
    assert_eq!(refused(&["text/html, video/mp4"]).as_deref(), Some("type video/mp4"), "a client may believe the last");
    assert_eq!(refused(&["text/html", "video/mp4"]).as_deref(), Some("type video/mp4"));
    assert_eq!(refused(&["multipart/byteranges; boundary=x"]).as_deref(), Some("type multipart/byteranges"));
    assert_eq!(refused(&["video/mp4 (a film)"]).as_deref(), Some("type video/mp4 (a film)"), "browsers read none");
    assert_eq!(refused(&["text/html; x=\"a, video/mp4"]).as_deref(), Some("type video/mp4"), "where the quotes end");
    for free in [&["video/webm"][..], &["text/html"], &["x; y=video/mp4"], &["text/html; x=\"a, video/mp4\""], &[]] {
        assert_eq!(refused(free), None, "{free:?}");
    }
}

#[test]
fn all_but_some_is_everything_and_what_says_nothing() {
    let text_alone = filter(&["*/*"], &["text/*"]);
    let refused = |types: &[&str]| text_alone.refused_type(&content_type::readings(&response(types)));
    assert_eq!(refused(&["text/html; charset=utf-8"]), None);
    assert_eq!(refused(&[]).as_deref(), Some("type none"));
    assert_eq!(refused(&["nonsense"]).as_deref(), Some("type none"));
    assert_eq!(refused(&["text/html; x=\"a,b/c\""]), None);
    assert_eq!(refused(&["text/ht ml"]).as_deref(), Some("type none"), "browsers find out by themselves");
    assert_eq!(refused(&["text/html", "image/png"]).as_deref(), Some("type image/png"));
}

#[test]
fn the_whole_counts_of_which_a_part_comes() {
    let mut head = response(&[]);
    head.set_framing(Framing::Length(10));
    assert_eq!(whole_length(&head), Some(10));
    head.add(b"Content-Range", b"bytes 0-9/5000");
    assert_eq!(whole_length(&head), Some(5000));
    head.set(b"Content-Range", b"bytes 0-9/*");
    assert_eq!(whole_length(&head), Some(10));
    head.set_framing(Framing::Unknown);
    assert_eq!(whole_length(&head), Some(10));
    head.set(b"Content-Range", b"bytes 4990-4999/*");
    assert_eq!(whole_length(&head), Some(5000), "it is longer than that at least");
    head.add(b"Content-Range", b"bytes 0-9/6000");
    assert_eq!(whole_length(&head), Some(6000));
    head.remove(b"Content-Range");
    assert_eq!(whole_length(&head), None);
}

#[test]
fn what_has_no_content_is_not_judged() {
    let of = |status: u16, framing: Framing, head_only: bool| {
        let mut head = response(&["video/mp4"]);
        head.set_status(status);
        head.set_framing(framing);
        speaks_of_content(&head, head_only)
    };
    assert!(of(205, Framing::Length(1), false) && !of(205, Framing::Length(0), false) && !of(205, Framing::None, true));
    assert!(of(200, Framing::Unknown, false) && of(404, Framing::Length(1), false) && of(200, Framing::None, true));
    assert!(!of(302, Framing::Length(0), false) && !of(200, Framing::None, false));
    assert!(!of(304, Framing::None, true) && !of(204, Framing::None, false));
}

#[test]
fn two_fields_may_ask_for_several_parts() {
    for (ranges, several) in
        [(&["bytes=0-1"][..], false), (&["bytes=0-1,3-4"], true), (&["bytes=0-1", "bytes=3-4"], true), (&[], false)]
    {
        let mut head = Head::default();
        head.start_request(b"GET", b"a", b"/", None);
        ranges.iter().for_each(|range| head.add(b"Range", range.as_bytes()));
        assert_eq!(asks_for_several(&head), several, "{ranges:?}");
    }
}
