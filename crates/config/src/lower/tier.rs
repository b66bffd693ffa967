//! When a server is asked, and which servers a route asks.

use super::Lower;
use crate::shape::{Item, Map};
use crate::span::Span;
use crate::spec::{Ending, Labels, Pool, PoolId, Server, Tier};

impl Lower<'_, '_> {
    pub(super) fn tier(&mut self, server: &Map) -> Tier {
        let is_backup = server.boolean("backup") == Some(true);
        if let Some(value) = server.get("priority").filter(|_| is_backup) {
            self.note(value, format!("`priority` and `backup` of {} exclude each other, keep one", server.label));
        }
        Tier {
            level: if is_backup { Some(Tier::BACKUP) } else { server.small("priority") },
            zone: server.fixed("zone").map(str::to_owned),
            labels: labels(server.named("labels")),
        }
    }

    /// The labels that a route asks for; only one pool can be asked for them.
    pub(super) fn subset(&mut self, route: &Map, ending: &Ending) -> Labels {
        let Some(item) = route.item("subset") else { return Vec::new() };
        let labels = labels(route.named("subset"));
        let Ending::To(id) = ending else {
            self.mistakes.note(&item.span, format!("`subset` of {} needs `to`", route.label));
            return labels;
        };
        if labels.is_empty() && !item.value.is_faulty() {
            self.mistakes
                .note(&item.span, format!("`subset` of {} is empty, remove it to ask all servers", route.label));
        }
        self.subsets.push(Subset { pool: *id, labels: labels.clone(), span: item.span.clone() });
        labels
    }

    /// Tells pools which parts of them are asked for.
    pub(super) fn share_out_subsets(&mut self, pools: &mut [Option<Pool>]) {
        // A faulty server is missing in its pool: then it is not known whether one has them.
        let is_sound = self.mistakes.0.is_empty();
        for Subset { pool, labels, span } in std::mem::take(&mut self.subsets) {
            let Some(Some(pool)) = pools.get_mut(pool.0) else { continue };
            // What a file or a name server will list is not known yet.
            let has = |server: &Server| {
                server.address.is_source() || labels.iter().all(|label| server.tier.labels.contains(label))
            };
            if is_sound && !pool.servers.iter().any(has) {
                self.mistakes.note(&span, format!("no server of pool `{}` has all of these labels", pool.name));
            }
            if !pool.subsets.contains(&labels) {
                pool.subsets.push(labels);
            }
        }
    }
}

/// A part of a pool that a route asks for, and where.
pub(super) struct Subset {
    pool: PoolId,
    labels: Labels,
    span: Span,
}

fn labels(items: &[Item]) -> Labels {
    let mut labels: Vec<_> =
        items.iter().filter_map(|item| Some((item.key.clone(), item.value.fixed()?.to_owned()))).collect();
    labels.sort();
    labels
}
