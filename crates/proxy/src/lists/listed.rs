//! The condition that something is on one of some lists.

use std::sync::Arc;

use super::{Cause, Hit, Lists, Wanted};
use crate::route::Facts;

/// Something is on one of some lists.
#[derive(Clone, Debug)]
pub struct Listed {
    /// All lists.
    pub lists: Arc<Lists>,
    /// Those that are asked.
    pub wanted: Wanted,
    /// What is looked for in them.
    pub of: Of,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The whole request.
    Url,
    /// Its host.
    Host,
    /// The name that the client asked for in its handshake of TLS.
    Sni,
}

impl Listed {
    /// Whether it is there; nothing if that cannot be known.
    pub(crate) fn holds(&self, facts: &Facts<'_>) -> Option<bool> {
        let holds = self.judge(facts).is_some();
        let is_hidden = self.of == Of::Url && facts.kind.is_tunnel() && self.lists.has_patterns(&self.wanted);
        (holds || !is_hidden).then_some(holds)
    }

    /// By which rule.
    pub(crate) fn hit(&self, facts: &Facts<'_>) -> Option<Hit> {
        let cause = self.judge(facts)?;
        self.lists.hit(cause, self.host(facts))
    }

    fn judge(&self, facts: &Facts<'_>) -> Option<Cause> {
        match self.of {
            Of::Url => self.lists.judge_url(&self.wanted, facts),
            Of::Host | Of::Sni => self.lists.judge_host(&self.wanted, self.host(facts)),
        }
    }

    fn host<'a>(&self, facts: &Facts<'a>) -> &'a [u8] {
        match self.of {
            Of::Url | Of::Host => facts.host,
            Of::Sni => facts.sni,
        }
    }
}
