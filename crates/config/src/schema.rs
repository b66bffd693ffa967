//! The JSON Schema of the language, for editors.

use serde_json::{Map, Value, json};

use crate::keys::{Default, Key, Section, TOP, Type, sections};

/// A JSON Schema (2020-12) of every live key, with short forms.
///
/// It knows forms, not meaning: names that refer to nothing, or shares that do not add up, are found by loading.
pub fn schema() -> String {
    let mut defs = Map::new();
    for (section, _) in sections() {
        defs.insert(id(section), definition(section));
    }
    let mut top = object(TOP.live(), true);
    top.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    top.insert("title".to_owned(), json!("Tidegate configuration"));
    top.insert("patternProperties".to_owned(), json!({ "^x-": true }));
    defs.remove(&id(&TOP));
    top.insert("$defs".to_owned(), Value::Object(defs));
    format!("{:#}\n", Value::Object(top))
}

/// A section in its long form and in every shorter one.
fn definition(section: &'static Section) -> Value {
    let mut long = object(section.live(), true);
    if section.choice {
        long.insert("minProperties".to_owned(), json!(1));
        long.insert("maxProperties".to_owned(), json!(1));
    }
    let mut forms = vec![Value::Object(long)];
    if let Some(key) = section.short.and_then(|short| section.key(short)) {
        forms.push(value(&key.ty));
    }
    if !section.presets.is_empty() {
        let words: Vec<_> = section.presets.iter().map(|preset| preset.word).collect();
        forms.push(json!({ "enum": words }));
    }
    let mut definition = any_of(forms);
    definition["description"] = json!(section.doc);
    definition
}

fn object(keys: impl Iterator<Item = &'static Key>, with_required: bool) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in keys {
        let mut property = value(&key.ty);
        property["description"] = json!(key.doc);
        if let Default::Text(text) = key.default {
            property["default"] = plain(&key.ty, text);
        }
        properties.insert(key.name.to_owned(), property);
        if key.required {
            required.push(key.name);
        }
    }
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("properties".to_owned(), Value::Object(properties));
    object.insert("additionalProperties".to_owned(), json!(false));
    if with_required && !required.is_empty() {
        object.insert("required".to_owned(), json!(required));
    }
    object
}

fn value(ty: &'static Type) -> Value {
    match ty {
        // A text field takes any scalar as written.
        Type::Text(_) | Type::Template | Type::PathTemplate => json!({ "type": ["string", "number", "boolean"] }),
        Type::Bool => or_source(json!({ "type": "boolean" })),
        Type::Integer(least, most) => or_source(json!({ "type": "integer", "minimum": least, "maximum": most })),
        Type::Decimal(least, most) => or_source(json!({ "type": "number", "minimum": least, "maximum": most })),
        Type::Duration => or_source(json!({ "type": "string", "pattern": r"^([0-9]+(us|ms|s|m|h|d))+$" })),
        Type::Size => or_source(json!({ "type": "string", "pattern": r"^[0-9]+(B|[KMGT]i?B)$" })),
        Type::Share => or_source(json!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,2})?%$" })),
        Type::Word(words) => {
            let live: Vec<_> = words.iter().filter(|word| !word.planned).map(|word| word.name).collect();
            or_source(json!({ "enum": live }))
        }
        Type::Section(section) => reference(section),
        Type::TextOr(form, section) => {
            any_of(vec![json!({ "type": ["string", "number", "boolean"], "title": form }), reference(section)])
        }
        Type::Defaults(section) => Value::Object(object(section.live().filter(|key| !key.own), false)),
        Type::Named(_, inner) => json!({ "type": "object", "additionalProperties": value(inner) }),
        Type::TextOrNamed(form, _, inner) => any_of(vec![
            json!({ "type": ["string", "number", "boolean"], "title": form }),
            json!({ "type": "object", "additionalProperties": value(inner) }),
        ]),
        Type::List(inner) => any_of(vec![list(inner), value(inner)]),
        Type::ListOrNamed(inner) => {
            any_of(vec![list(inner), value(inner), json!({ "type": "object", "additionalProperties": value(inner) })])
        }
    }
}

fn list(inner: &'static Type) -> Value {
    json!({ "type": "array", "items": value(inner), "minItems": 1 })
}

/// A value, or where it comes from.
fn or_source(value: Value) -> Value {
    any_of(vec![value, json!({ "type": "string", "pattern": r"\$\{(env|file)\." })])
}

fn any_of(mut forms: Vec<Value>) -> Value {
    match forms.pop() {
        Some(only) if forms.is_empty() => only,
        Some(last) => {
            forms.push(last);
            json!({ "anyOf": forms })
        }
        None => json!({}),
    }
}

fn reference(section: &Section) -> Value {
    json!({ "$ref": format!("#/$defs/{}", id(section)) })
}

fn id(section: &Section) -> String {
    section.noun.replace(' ', "_")
}

/// A default as JSON.
fn plain(ty: &Type, text: &str) -> Value {
    match ty {
        Type::Integer(..) => text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number)),
        Type::Bool => json!(text == "true"),
        Type::List(inner) if text.contains(", ") => text.split(", ").map(|text| plain(inner, text)).collect(),
        _ => json!(text),
    }
}
