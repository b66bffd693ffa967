//! Sites: names on shared listeners.

use super::levels::Levels;
use super::template::Needs;
use super::{Lower, PlacedSite, name};
use crate::diagnostics::did_you_mean;
use crate::shape::{Item, Map};
use crate::spec::{Site, SiteHost};

impl<'a> Lower<'a, '_> {
    pub(super) fn sites(&mut self) -> Vec<PlacedSite> {
        let sites: Vec<PlacedSite> = self.top.named("sites").iter().filter_map(|item| self.site(item)).collect();
        self.refuse_shared_hosts(&sites);
        sites
    }

    fn site(&mut self, item: &'a Item) -> Option<PlacedSite> {
        let map = item.value.map()?;
        let hosts = self.site_hosts(map);
        let uses = self.uses(map, Needs::default());
        let routes = self.own_routes(map);
        let Levels { priority, timeouts, retries, limits } = self.near_levels(map);
        let site = Site {
            name: item.key.clone(),
            span: item.span.clone(),
            hosts,
            uses,
            routes,
            priority,
            timeouts,
            retries,
            limits,
        };
        Some((site, self.site_listeners(map)))
    }

    fn site_hosts(&mut self, map: &Map) -> Vec<SiteHost> {
        let mut hosts = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for value in map.list("hosts") {
            let Some(text) = value.fixed() else { continue };
            let host = match (text, name::wildcard(text)) {
                ("default", _) => Ok(SiteHost::Default),
                (_, Some(wildcard)) => wildcard.map(SiteHost::Wildcard),
                (_, None) => name::host(text).map(SiteHost::Exact),
            };
            match host {
                Ok(host) if !seen.insert(host.clone()) => {
                    self.note(value, format!("`{text}` stands twice in {}", map.label));
                }
                Ok(host) => hosts.push(host),
                Err(why) => self.note(value, why),
            }
        }
        hosts
    }

    fn site_listeners(&mut self, map: &Map) -> Vec<(String, crate::span::Span)> {
        let mut names = Vec::new();
        for value in map.list("listeners") {
            let Some(name) = value.fixed() else { continue };
            let known = self.top.named("listeners").iter().map(|item| item.key.as_str());
            if known.clone().any(|known| known == name) {
                names.push((name.to_owned(), value.span.clone()));
            } else {
                let hint = did_you_mean(name, known);
                self.note(value, format!("there is no listener `{name}`{hint}"));
            }
        }
        names
    }

    /// Of one listener, each host belongs to one site.
    fn refuse_shared_hosts(&mut self, sites: &[PlacedSite]) {
        let mut owners = std::collections::HashMap::new();
        for (site, listeners) in sites {
            for (listener, _) in listeners {
                for host in &site.hosts {
                    let Some(first) = owners.insert((listener, host), site) else { continue };
                    let host = match host {
                        SiteHost::Exact(host) => format!("host `{host}`"),
                        SiteHost::Wildcard(host) => format!("host `*.{host}`"),
                        SiteHost::Default => "`default`".to_owned(),
                    };
                    let message = format!(
                        "{host} of site `{}` on listener `{listener}` already belongs to site `{}` ({}), remove one",
                        site.name, first.name, first.span
                    );
                    self.mistakes.note(&site.span, message);
                }
            }
        }
    }
}
