//! `filter`: the keys of rules about responses.

use super::route::{CONTACT, REASON, STATUS};
use super::{Key, Section, Type};

pub(super) static FILTER: Section = Section::new(
    "filter",
    "Refuses responses by what they are. It stands between the server and all other policies, wherever it is in `use`: what the server \
     says counts. Every filter on the way of a request is asked, the nearest to the server first.",
    &[
        Key::new(
            "types",
            Type::List(&Type::Text("media type")),
            "What is refused, by `Content-Type`: `video/mp4`, `video/*`, `application/*+xml`; `*/*` is all there is, and what has no type.",
        ),
        Key::new("except", Type::List(&Type::Text("media type")), "What passes `types` all the same."),
        Key::new(
            "over",
            Type::Size,
            "What is longer is refused where its length is known, and else cut off there. Bytes count as they come, in their content coding.",
        ),
        Key::new("deny", Type::Section(&REFUSAL), "What clients get instead.").filled(),
    ],
);

static REFUSAL: Section =
    Section::new("refusal", "A number stands for `status`.", &[STATUS, REASON, CONTACT]).short("status");
