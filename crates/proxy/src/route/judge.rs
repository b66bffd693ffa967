//! Whether a condition holds for a request.

use wire::postgres::Startup;
use wire::{form, grpc};

use super::cookie;
use super::facts::{Facts, Kind, Said, Words};
use super::rule::Condition;
use super::text::{any_holds, one_holds};
use crate::lists::{Hit, Of};
use crate::users::User;

/// The answer to a condition: Kleene's three values, and two ways in which a body has not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It can never be known: a body that is not what the predicate asks for, or longer than it may be.
    Unknown,
    /// It depends on a body of up to this many bytes, which has not been read to its end.
    Undecided(usize),
    /// It depends on a body that is longer than it may be, and such requests are refused.
    TooLarge,
}

impl Truth {
    /// Both. Of two that are not `True`, the one wins that could still change the answer.
    pub(super) fn and(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::False, _) | (_, Truth::False) => Truth::False,
            (Truth::Undecided(one), Truth::Undecided(two)) => Truth::Undecided(one.max(two)),
            (Truth::Undecided(limit), _) | (_, Truth::Undecided(limit)) => Truth::Undecided(limit),
            (Truth::TooLarge, _) | (_, Truth::TooLarge) => Truth::TooLarge,
            (Truth::Unknown, _) | (_, Truth::Unknown) => Truth::Unknown,
            (Truth::True, Truth::True) => Truth::True,
        }
    }

    /// One or both, by De Morgan's law.
    pub(super) fn or(self, other: Truth) -> Truth {
        self.not().and(other.not()).not()
    }

    /// The opposite, as far as there is one.
    pub(super) fn not(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            other => other,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Truth {
        if holds { Truth::True } else { Truth::False }
    }
}

/// The service and the method of a call of gRPC.
fn call<'a>(facts: &Facts<'a>) -> Option<(&'a [u8], &'a [u8])> {
    if facts.kind == Kind::Grpc { grpc::service_and_method(facts.path) } else { None }
}

fn postgres<'a>(facts: &Facts<'a>) -> Option<&'a Startup> {
    facts.said.and_then(Said::postgres)
}

/// What is not known is neither so nor otherwise.
fn known(holds: Option<bool>) -> Truth {
    holds.map_or(Truth::Unknown, Truth::from)
}

impl Condition {
    pub(super) fn judge(&self, facts: &Facts<'_>) -> Truth {
        if facts.kind.is_tunnel() && self.is_of_requests() {
            return Truth::Unknown;
        }
        let holds = match self {
            Condition::Host(patterns) => patterns.iter().any(|pattern| pattern.holds(facts.host)),
            Condition::Path(patterns) => patterns.iter().any(|pattern| pattern.holds(facts.path)),
            Condition::Method(values) => one_holds(values, facts.head.method_text()),
            Condition::Header { name, values } => any_holds(values, facts.head.values(name.as_bytes())),
            Condition::Cookie { name, values } => any_holds(values, cookie::values(facts.head, name.as_bytes())),
            Condition::Query { name, values } => {
                any_holds(values, form::values(facts.head.query().unwrap_or_default(), name.as_bytes()))
            }
            Condition::Client(nets) => nets.iter().any(|net| net.contains(facts.client)),
            Condition::Kind(kinds) => kinds.contains(&facts.kind),
            Condition::GrpcService(values) => call(facts).is_some_and(|(service, _)| one_holds(values, service)),
            Condition::GrpcMethod(values) => call(facts).is_some_and(|(_, method)| one_holds(values, method)),
            Condition::Port(ports) => ports.contains(&facts.port),
            Condition::Sni(patterns) => patterns.iter().any(|pattern| pattern.holds(facts.sni)),
            Condition::NoSni(wanted) => facts.sni.is_empty() == *wanted,
            Condition::Alpn(wanted) => facts.alpn.iter().any(|protocol| wanted.contains(protocol)),
            Condition::ClientCert(wanted) => facts.fingerprint.is_some() == *wanted,
            Condition::Fingerprint(wanted) => facts.fingerprint.is_some_and(|shown| wanted.contains(shown)),
            Condition::PostgresUser(values) => return known(postgres(facts).map(|said| one_holds(values, &said.user))),
            Condition::PostgresDatabase(values) => {
                return known(postgres(facts).map(|said| one_holds(values, &said.database)));
            }
            Condition::MqttClient(values) => {
                let id = facts.said.and_then(Said::mqtt);
                return known(id.map(|id| one_holds(values, id.as_bytes())));
            }
            Condition::User(values) => return known(facts.user.map(|user| one_holds(values, user.name.as_bytes()))),
            Condition::Group(values) => {
                let one = |user: &User| any_holds(values, user.groups.iter().map(|group| group.as_bytes()));
                return known(facts.user.map(one));
            }
            Condition::Time(schedules) => schedules.iter().any(|schedule| schedule.holds(facts.now)),
            Condition::Listed(listed) => return known(listed.holds(facts)),
            Condition::Body(body) => return body.judge(facts),
            Condition::Any(lists) => return one(lists, facts),
            Condition::Not(list) => return all(list, facts).not(),
        };
        holds.into()
    }

    /// Whether it is about what a tunnel hides.
    pub(super) fn is_of_requests(&self) -> bool {
        matches!(
            self,
            Condition::Path(_)
                | Condition::Method(_)
                | Condition::Header { .. }
                | Condition::Cookie { .. }
                | Condition::Query { .. }
                | Condition::GrpcService(_)
                | Condition::GrpcMethod(_)
                | Condition::Body(_)
        )
    }

    /// Whether a client's first words may be needed to answer.
    pub(super) fn asks(&self, words: Words) -> bool {
        match self {
            Condition::Sni(_) | Condition::NoSni(_) | Condition::Alpn(_) => words == Words::Hello,
            Condition::Listed(listed) => listed.of == Of::Sni && words == Words::Hello,
            Condition::PostgresUser(_) | Condition::PostgresDatabase(_) => words == Words::Postgres,
            Condition::MqttClient(_) => words == Words::Mqtt,
            Condition::Any(lists) => lists.iter().flatten().any(|condition| condition.asks(words)),
            Condition::Not(list) => list.iter().any(|condition| condition.asks(words)),
            _ => false,
        }
    }

    /// Whether a body may be needed to answer.
    pub(super) fn asks_body(&self) -> bool {
        match self {
            Condition::Body(_) => true,
            Condition::Any(lists) => lists.iter().flatten().any(Condition::asks_body),
            Condition::Not(list) => list.iter().any(Condition::asks_body),
            _ => false,
        }
    }

    /// Whether lists have to be looked through to answer.
    pub(super) fn asks_lists(&self) -> bool {
        match self {
            Condition::Listed(_) => true,
            Condition::Any(lists) => lists.iter().flatten().any(Condition::asks_lists),
            Condition::Not(list) => list.iter().any(Condition::asks_lists),
            _ => false,
        }
    }

    /// The rule of a list by which it holds. What holds because something is on no list, holds by none.
    pub(super) fn hit(&self, facts: &Facts<'_>) -> Option<Hit> {
        match self {
            Condition::Listed(listed) => listed.hit(facts),
            Condition::Any(lists) => {
                let mut holding = lists.iter().filter(|list| all(list, facts) == Truth::True);
                holding.find_map(|list| list.iter().find_map(|condition| condition.hit(facts)))
            }
            _ => None,
        }
    }

    /// Puts what asks for a body behind what does not, and lists before that, at every level: a cheap answer often makes a dear one
    /// needless.
    pub(super) fn cheapest_first(conditions: &mut [Condition]) {
        for condition in &mut *conditions {
            match condition {
                Condition::Any(lists) => {
                    lists.iter_mut().for_each(|list| Condition::cheapest_first(list));
                    lists.sort_by_key(|list| list.iter().map(Condition::cost).max());
                }
                Condition::Not(list) => Condition::cheapest_first(list),
                _ => {}
            }
        }
        conditions.sort_by_key(Condition::cost);
    }

    fn cost(&self) -> (bool, bool) {
        (self.asks_body(), self.asks_lists())
    }
}

/// Whether all conditions of a list hold.
pub(super) fn all(list: &[Condition], facts: &Facts<'_>) -> Truth {
    let mut truth = Truth::True;
    for condition in list {
        truth = truth.and(condition.judge(facts));
        if truth == Truth::False {
            break;
        }
    }
    truth
}

/// Whether one of the lists holds.
fn one(lists: &[Vec<Condition>], facts: &Facts<'_>) -> Truth {
    let mut truth = Truth::False;
    for list in lists {
        truth = truth.or(all(list, facts));
        if truth == Truth::True {
            break;
        }
    }
    truth
}

#[cfg(test)]
mod tests {
    use super::Truth::{False, TooLarge, True, Undecided, Unknown};

    const ALL: [super::Truth; 5] = [True, False, Unknown, Undecided(8), TooLarge];

    #[test]
    fn what_cannot_be_known_never_becomes_true() {
        for other in [False, Unknown] {
            assert_ne!(Unknown.and(other), True);
            assert_ne!(Unknown.or(other), True);
        }
        assert_eq!(Unknown.not(), Unknown);
        assert_eq!(Unknown.and(True), Unknown);
        assert_eq!(Unknown.or(True), True);
    }

    #[test]
    fn certainty_beats_a_body_that_is_not_read() {
        for open in [Unknown, Undecided(8), TooLarge] {
            assert_eq!(open.and(False), False);
            assert_eq!(open.or(True), True);
            assert_eq!(open.and(True), open);
            assert_eq!(open.or(False), open);
        }
        assert_eq!(Undecided(8).and(Undecided(16)), Undecided(16));
        assert_eq!(Undecided(8).or(TooLarge), Undecided(8));
        assert_eq!(Unknown.or(TooLarge), TooLarge);
    }

    #[test]
    fn the_order_of_conditions_does_not_matter() {
        for one in ALL {
            for two in ALL {
                assert_eq!(one.and(two), two.and(one));
                assert_eq!(one.or(two), two.or(one));
            }
        }
    }
}
