//! Rules of ad blockers: those that are about a host and nothing else are told apart from all others.

use super::{Effect, Line, Name, Rule};

pub(super) fn rule(text: &str, tell: &mut dyn FnMut(Rule<'_>)) -> Line {
    let text = text.trim_start();
    if text.is_empty() || text.starts_with(['!', '[']) || text == "#" || text.starts_with("# ") {
        return Line::Blank;
    }
    if OF_PAGES.iter().any(|mark| text.contains(mark)) {
        return Line::Foreign;
    }
    match of_host(text) {
        Some((name, effect, revokes)) => {
            tell(Rule { host: name.as_str(), itself: true, below: !name.is_address(), effect, revokes });
            Line::Hosts
        }
        None => Line::Pattern,
    }
}

/// What divides the hosts of a rule for elements of pages from the element.
const OF_PAGES: [&str; 9] = ["##", "#@#", "#?#", "#@?#", "#$#", "#@$#", "#%#", "#@%#", "$$"];

/// `||host^`, which holds whatever is asked for there.
fn of_host(text: &str) -> Option<(Name, Effect, bool)> {
    let (is_exception, rule) = match text.strip_prefix("@@") {
        Some(rule) => (true, rule),
        None => (false, text),
    };
    let (pattern, options) = rule.strip_prefix("||")?.split_once('$').unwrap_or((rule.strip_prefix("||")?, ""));
    let host = pattern.strip_suffix('|').unwrap_or(pattern).strip_suffix('^')?;
    let (mut important, mut revokes) = (false, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "important" => important = true,
            "badfilter" => revokes = true,
            "all" if !is_exception => {}
            _ => return None,
        }
    }
    let effect = match (is_exception, important) {
        // An exception that beats important rules is more than this knows.
        (true, true) => return None,
        (true, false) => Effect::Except,
        (false, true) => Effect::Important,
        (false, false) => Effect::Block,
    };
    Some((Name::of(host)?, effect, revokes))
}
