//! `filter`: the keys of rules about responses.

use super::route::{CONTACT, REASON, STATUS};
use super::{Key, Section, Type, live};

pub(super) static FILTER: Section = Section::new(
    "filter",
    "Refuses responses by what they are or say. It stands between the server and all other policies, wherever it is in `use`: what the server \
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
        Key::new("words", Type::Section(&WORDS), "Texts are refused that hold these."),
        Key::new("deny", Type::Section(&REFUSAL), "What clients get instead.").filled(),
    ],
);

static WORDS: Section = Section::new(
    "words",
    "Words and phrases are looked for in texts, whole and in any case, before clients have any of them. Text stands for `list`.",
    &[
        Key::new("list", Type::List(&Type::Text("name of a list")), "The lists, which have `format: words`.").required(),
        Key::new(
            "score",
            Type::Integer(1, 1_000_000),
            "What all that are found have to weigh together, each once. One that has no weight is enough by itself.",
        )
        .default("100"),
        Key::new(
            "types",
            Type::List(&Type::Text("media type")),
            "What is a text, and what says no type that browsers would read. Its content codings are undone to read it, if they are gzip, deflate, br or zstd.",
        )
        .default("text/*, application/json, application/*+json, application/xml, application/*+xml"),
        Key::new(
            "hold",
            Type::Size,
            "So much of a text is held until it is judged, 4MiB at most; out of its coding it may be 16 times as long.",
        )
        .default("1MiB"),
        Key::new("wait", Type::Duration, "For so long it is waited for.").default("10s"),
        Key::new(
            "unread",
            Type::Word(&[live("pass"), live("refuse")]),
            "What becomes of a text that is longer or slower, in another coding or a charset that hides words, a part (206), or beyond `at_once`.",
        )
        .default("pass"),
        Key::new(
            "at_once",
            Type::Integer(1, 65_535),
            "Texts that the process holds at a time, and no more than a quarter of them, at least one, for one client.",
        )
        .default("256"),
    ],
)
.short("list");

static REFUSAL: Section =
    Section::new("refusal", "A number stands for `status`.", &[STATUS, REASON, CONTACT]).short("status");
