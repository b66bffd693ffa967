//! The effective configuration as JSON, which loads to the same [`crate::Spec`].

use serde_json::Value as Json;

use crate::load::Loaded;
use crate::shape::{Map, Meaning, Shape, Value};

/// What [`effective`](crate::effective()) prints, as one JSON document: `true`, `false` and whole numbers are what they are,
/// everything else is a text as it is written in YAML. How a pool chooses is left out where it says nothing itself and depends on who
/// leads to it: whoever changes the document may lead others there.
///
/// What came from the environment or a file is the `${…}` that named it, never its value.
pub fn effective_json(loaded: &Loaded) -> Json {
    object(&loaded.document)
}

fn object(map: &Map) -> Json {
    map.items.iter().map(|item| (item.key.clone(), json(&item.value))).collect()
}

fn json(value: &Value) -> Json {
    match &value.data {
        Shape::Scalar(text, Meaning::Bool(value)) if !text.has_secret() => (*value).into(),
        Shape::Scalar(text, Meaning::Integer(value)) if !text.has_secret() => (*value).into(),
        Shape::Scalar(text, _) => text.written.clone().into(),
        Shape::Map(map) => object(map),
        Shape::List(items) => items.iter().map(json).collect(),
        // A loaded document has none.
        Shape::Faulty => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::load_text;

    #[test]
    fn it_loads_to_the_same_and_shows_no_secret() {
        let text = "workers: ${env.WORKERS}\nlisteners: { web: { bind: 127.0.0.1:0, forwarding: { via: false }, to: app } }\n\
                    pools: { app: { servers: { a: { address: 127.0.0.1:1, weight: 3 } }, host: \"${env.NAME}\" } }\n";
        let env = |name: &str| match name {
            "WORKERS" => Some("2".to_owned()),
            "NAME" => Some("s3cret.example".to_owned()),
            _ => None,
        };
        let loaded = load_text("t.yaml", text, Path::new("."), &env).expect("no mistakes");
        let json = effective_json(&loaded);
        assert_eq!(json["pools"]["app"]["servers"]["a"]["weight"], 3);
        assert_eq!(json["listeners"]["web"]["forwarding"]["via"], false);
        assert_eq!(json["workers"], "${env.WORKERS}");
        assert!(!json.to_string().contains("s3cret"));
        let again = load_text("t.json", &json.to_string(), Path::new("."), &env).expect("no mistakes");
        assert_eq!((again.spec.workers, again.spec.pools.len()), (Some(2), 1));
        assert_eq!(effective_json(&again), json);
    }
}
