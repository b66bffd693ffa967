//! The reference page of the language.

use crate::keys::{Default, Key, Section, Type, sections};

/// One page of Markdown with every live key: where it stands, its type, default and meaning.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (section, path) in sections() {
        let heading = if path.is_empty() { "Top level".to_owned() } else { format!("`{path}`") };
        page += &format!("\n## {heading}\n\n{}\n\n", section.doc);
        page += "| key | type | default | meaning |\n|---|---|---|---|\n";
        for key in section.live() {
            page += &row(key);
        }
        page += &shorter(section);
    }
    page
}

fn row(key: &Key) -> String {
    let default = match key.default {
        Default::Text(text) => format!("`{text}`"),
        Default::Farther(text) => format!("the next level's, `{text}`"),
        Default::Keys => "see below".to_owned(),
        Default::None if key.required => "required".to_owned(),
        Default::None => "–".to_owned(),
    };
    format!(
        "| `{}` | {} | {default} | {} |\n",
        key.name,
        type_name(&key.ty).replace('|', "\\|"),
        key.doc.replace('|', "\\|")
    )
}

/// The words and values that stand for a section.
fn shorter(section: &Section) -> String {
    let mut text = String::new();
    if let Some(short) = section.short {
        text += &format!("\nShort form: a value alone stands for `{short}`.\n");
    }
    for preset in section.presets {
        let sets: Vec<_> = preset.sets.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        text += &format!("\nShort form: `{}` stands for `{{ {} }}`.\n", preset.word, sets.join(", "));
    }
    text
}

fn type_name(ty: &Type) -> String {
    match ty {
        Type::Text(form) => (*form).to_owned(),
        Type::Template => "text with `${…}`".to_owned(),
        Type::PathTemplate => "path or URL with `*`, `$1`".to_owned(),
        Type::Bool => "`true` or `false`".to_owned(),
        Type::Integer(least, most) => format!("{least} to {most}"),
        Type::Decimal(least, most) => format!("{least} to {most}, decimals allowed"),
        Type::Duration => "duration".to_owned(),
        Type::Size => "size".to_owned(),
        Type::Share => "percentage".to_owned(),
        Type::Word(words) => {
            let live: Vec<_> =
                words.iter().filter(|word| !word.planned).map(|word| format!("`{}`", word.name)).collect();
            live.join(", ")
        }
        Type::Section(section) => (*section.noun).to_owned(),
        Type::TextOr(form, section) => format!("{form}, or {}", section.noun),
        Type::Defaults(section) => format!("keys of {}", section.noun),
        Type::Named(_, inner) => format!("{}, by name", type_name(inner)),
        Type::TextOrNamed(form, _, inner) => format!("{form}, or {} by name", type_name(inner)),
        Type::List(inner) => format!("list of {}", type_name(inner)),
        Type::ListOrNamed(inner) => format!("list of {0}, or {0} by name", type_name(inner)),
    }
}

const INTRODUCTION: &str = "\
# Reference of the configuration

<!-- Generated from the table of keys in crates/config/src/keys; edit that instead. -->

A configuration is one YAML 1.2 document, or the same as JSON. Durations are written `500us`, `30s`, `1h30m`, sizes `64KiB`, `1MB`,
percentages `10%`. One element may stand for a list of one. `${env.NAME}`, `${env.NAME:-default}` and `${file.PATH}` are replaced inside
of values, `$${` is the two characters themselves. In the headings `*` is a name or a number.
";
