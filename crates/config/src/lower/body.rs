//! `match.body`.

use super::Lower;
use crate::shape::Map;
use crate::spec::{BodyMatch, BodyTest, JsonPath, JsonStep, OverLimit};

impl Lower<'_, '_> {
    pub(super) fn body(&mut self, map: &Map) -> Option<BodyMatch> {
        let mut tests = Vec::new();
        for item in map.named("json") {
            let any = self.values(item.value.items());
            match json_path(&item.key) {
                Ok(path) => tests.push(BodyTest::Json { path, any }),
                Err(why) => self.mistakes.note(&item.span, why),
            }
        }
        for item in map.named("form") {
            let any = self.values(item.value.items());
            tests.push(BodyTest::Form { name: item.key.clone(), any });
        }
        if map.has("text") {
            let any = self.texts(map.list("text"), "body").into_iter().map(|(text, _)| text).collect();
            tests.push(BodyTest::Text { any });
        }
        let tests_something = ["json", "form", "text"].into_iter().any(|key| map.has(key));
        if !tests_something && !map.has_faulty() {
            self.mistakes.note(&map.span, format!("{} tests nothing, give it `json`, `form` or `text`", map.label));
        }
        let over_limit = if map.fixed("over_limit") == Some("reject") { OverLimit::Reject } else { OverLimit::NoMatch };
        let limit = map.size("limit")?;
        if limit == 0 || limit > LARGEST {
            let message = format!("`limit` of {} must be between 1B and 16MiB: so much is kept in memory", map.label);
            self.mistakes.note(&map.get("limit")?.span, message);
        }
        Some(BodyMatch { tests, limit, over_limit })
    }
}

/// `$.a.b[0]['c d']`.
fn json_path(text: &str) -> Result<JsonPath, String> {
    let wrong =
        || format!("`{text}` is no place in a JSON document, write it like `$.customer.tier` or `$.items[0]['a b']`");
    let mut rest = text.strip_prefix('$').ok_or_else(wrong)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (member, next) = after.split_at(end);
            if member.is_empty() || member.contains(['*', ']', '\'', '"', ' ']) {
                return Err(wrong());
            }
            steps.push(JsonStep::Member(member.to_owned()));
            rest = next;
        } else if let Some(after) = rest.strip_prefix("['") {
            let (member, next) = after.split_once("']").ok_or_else(wrong)?;
            steps.push(JsonStep::Member(member.to_owned()));
            rest = next;
        } else {
            let (number, next) = rest.strip_prefix('[').and_then(|after| after.split_once(']')).ok_or_else(wrong)?;
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let number = if digits { number.parse().ok() } else { None };
            steps.push(JsonStep::Element(number.ok_or_else(wrong)?));
            rest = next;
        }
    }
    Ok(JsonPath { steps })
}

/// The prefix of a body is held for each request that is decided by it.
const LARGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_json() {
        let member = |name: &str| JsonStep::Member(name.to_owned());
        let steps = |text| json_path(text).map(|path| path.steps);
        assert_eq!(steps("$"), Ok(vec![]));
        assert_eq!(steps("$.customer.tier"), Ok(vec![member("customer"), member("tier")]));
        assert_eq!(steps("$['a.b'][10].c"), Ok(vec![member("a.b"), JsonStep::Element(10), member("c")]));
        for text in ["", "a", "$a", "$.", "$..a", "$[x]", "$[", "$[-1]", "$['a", "$.*", "$[*]"] {
            assert!(json_path(text).is_err(), "{text}");
        }
    }
}
