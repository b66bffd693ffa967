//! Timeouts, retries and limits: what the nearest level decides.

use std::time::Duration;

use wire::grpc::Code;

use super::Lower;
use crate::shape::{Map, Value};
use crate::spec::{Backoff, Hedge, Limits, Priority, Retries, RetryIf, Role, Timeouts};

/// One level of them all.
#[derive(Default)]
pub(super) struct Levels {
    pub(super) priority: Option<Priority>,
    pub(super) timeouts: Timeouts,
    pub(super) retries: Retries,
    pub(super) limits: Limits,
}

impl Lower<'_, '_> {
    pub(super) fn levels(&mut self, owner: &Map) -> Levels {
        let timeouts = match owner.map("timeouts") {
            Some(map) => Timeouts {
                request_body: self.time(map, "request_body"),
                connect: self.time(map, "connect"),
                queue: self.time(map, "queue"),
                response: self.time(map, "response"),
                stream: self.time(map, "stream"),
                total: self.time(map, "total"),
                tunnel: self.time(map, "tunnel"),
                flow: self.time(map, "flow"),
                per_try: self.time(map, "try"),
            },
            None => Timeouts::default(),
        };
        let retries = match owner.map("retries") {
            Some(map) => Retries {
                extra: map.small("extra"),
                conditions: map.has("if").then(|| self.conditions(map.list("if"))),
                budget: map.share("budget"),
                hedge: map
                    .map("hedge")
                    .and_then(|map| Some(Hedge { after: self.time(map, "after")?, extra: map.small("extra")? })),
                backoff: map.map("backoff").and_then(backoff),
            },
            None => Retries::default(),
        };
        let limits = Limits { request_body: owner.map("limits").and_then(|map| map.size("request_body")) };
        let priority = owner.fixed("priority").map(|word| match word {
            "high" => Priority::High,
            "low" => Priority::Low,
            _ => Priority::Normal,
        });
        Levels { priority, timeouts, retries, limits }
    }

    /// The level of a route or a site.
    pub(super) fn near_levels(&mut self, owner: &Map) -> Levels {
        let times = owner.map("timeouts");
        // Where the role of a listener forbids it that was said; sites are of HTTP.
        if self.role != Role::Udp
            && let Some(value) = times.and_then(|times| times.get("flow")).filter(|value| !value.is_faulty())
        {
            self.note(value, format!("`flow` in `timeouts` of {} is for `role: udp`, remove it", owner.label));
        }
        self.levels(owner)
    }

    /// A timeout, which is never zero.
    pub(super) fn time(&mut self, map: &Map, key: &str) -> Option<Duration> {
        let time = map.duration(key)?;
        if time.is_zero()
            && let Some(value) = map.get(key)
        {
            self.note(value, format!("`{key}` of {}: `0s` would let nothing happen, use a longer time", map.label));
        }
        Some(time)
    }

    fn conditions(&mut self, values: &[Value]) -> Vec<RetryIf> {
        let mut conditions = Vec::new();
        for value in values {
            let Some(text) = value.fixed() else { continue };
            let condition = match text {
                "connect" => RetryIf::Connect,
                "reset" => RetryIf::Reset,
                "timeout" => RetryIf::Timeout,
                _ if let Some(code) = grpc(text) => RetryIf::Grpc(code),
                _ => match text.parse::<u16>() {
                    Ok(status) if (500..600).contains(&status) => RetryIf::Status(status),
                    _ => {
                        let message = format!(
                            "`{text}` is no reason to retry, use connect, reset, timeout, a status from 500 to 599, or cancelled, \
                             deadline_exceeded, internal, resource_exhausted or unavailable for gRPC"
                        );
                        self.note(value, message);
                        continue;
                    }
                },
            };
            if !self.role.has_requests() && condition != RetryIf::Connect {
                let role = self.role.word();
                self.note(
                    value,
                    format!("`{text}` is about requests, with `role: {role}` only `connect` is worth another try"),
                );
            }
            if conditions.contains(&condition) {
                self.note(value, format!("`{text}` stands twice in `if`, remove one"));
            }
            conditions.push(condition);
        }
        conditions
    }
}

/// The ends of calls after which another server may do better.
fn grpc(text: &str) -> Option<Code> {
    const WORTH_IT: [Code; 5] =
        [Code::Cancelled, Code::DeadlineExceeded, Code::Internal, Code::ResourceExhausted, Code::Unavailable];
    WORTH_IT.into_iter().find(|code| code.name() == text)
}

fn backoff(map: &Map) -> Option<Backoff> {
    let base = map.duration("base")?;
    Some(Backoff { base, max: map.duration("max").unwrap_or(base.saturating_mul(10)) })
}
