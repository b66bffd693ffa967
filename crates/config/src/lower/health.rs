//! How a pool watches its servers.

use super::{Lower, fields, name};
use crate::shape::{Map, Value};
use crate::spec::{Health, HttpProbe, LatencyOutlier, Outlier, Probe, SuccessRate};

impl Lower<'_, '_> {
    /// A pool's `health`; nothing if it is off or faulty.
    pub(super) fn health(&mut self, map: &Map) -> Option<Health> {
        let probe = map.fixed("probe")?;
        self.refuse_keys_of_other_probes(map, probe);
        let every = self.time(map, "every");
        let timeout = self.time(map, "timeout");
        let fast = if map.has("fast") { self.time(map, "fast") } else { every };
        let kind = match probe {
            "http" => Probe::Http(self.http_probe(map)?),
            "grpc" => Probe::Grpc {
                host: map.get("host").and_then(|value| self.probe_host(map, value)),
                service: map.get("service").map_or(Some(String::new()), |value| self.service(map, value))?,
            },
            "tls" => Probe::Tls { host: map.get("host").and_then(|value| self.probe_host(map, value)) },
            "tcp" => Probe::Tcp,
            "redis" => Probe::Redis,
            "postgres" => Probe::Postgres,
            "mysql" => Probe::Mysql,
            "smtp" => Probe::Smtp,
            _ => return None,
        };
        Some(Health {
            probe: kind,
            port: map.tiny("port"),
            every: every?,
            timeout: timeout?,
            rise: map.small("rise")?,
            fall: map.small("fall")?,
            fast: fast?,
            jitter: map.share("jitter")?,
        })
    }

    /// A pool's `outlier`.
    pub(super) fn outlier(&mut self, map: &Map) -> Option<Outlier> {
        let (eject_for, eject_for_max) = (self.time(map, "eject_for"), self.time(map, "eject_for_max"));
        if let (Some(first), Some(most), Some(value)) = (eject_for, eject_for_max, map.get("eject_for_max"))
            && most < first
        {
            self.note(value, format!("`eject_for_max` of {} is shorter than `eject_for`, make it longer", map.label));
        }
        let every = self.time(map, "every");
        let success_rate = map.map("success_rate").and_then(|map| self.success_rate(map));
        let latency = map.map("latency").and_then(|map| self.latency(map));
        Some(Outlier {
            consecutive_errors: map.small("consecutive_errors")?,
            eject_for: eject_for?,
            eject_for_max: eject_for_max?,
            max_ejected: map.share("max_ejected")?,
            every: every?,
            success_rate,
            latency,
        })
    }

    fn success_rate(&mut self, map: &Map) -> Option<SuccessRate> {
        let (factor, min_servers) = (map.small("factor")?, map.small("min_servers")?);
        // The farthest that one of so many values can lie from their mean (Samuelson's inequality).
        let farthest = f64::from(min_servers - 1).sqrt();
        if f64::from(factor) / 1000.0 >= farthest {
            let message = format!(
                "`factor` of {}: one of {min_servers} servers is never more than {farthest:.2} deviations below the mean, use less \
                 than {} or more `min_servers`",
                map.label,
                (farthest * 1000.0).floor(),
            );
            self.mistakes.note(&map.get("factor")?.span, message);
        }
        Some(SuccessRate { factor, min_servers, min_requests: map.small("min_requests")? })
    }

    fn latency(&mut self, map: &Map) -> Option<LatencyOutlier> {
        Some(LatencyOutlier {
            ratio: map.small("ratio")?,
            over: map.duration("over")?,
            min_servers: map.small("min_servers")?,
            min_requests: map.small("min_requests")?,
        })
    }

    fn refuse_keys_of_other_probes(&mut self, map: &Map, probe: &str) {
        for (key, probes) in KEYS_OF_PROBES {
            if let Some(item) = map.item(key).filter(|_| probe != "off" && !probes.contains(&probe)) {
                let message = format!(
                    "`{key}` of {} does nothing with `probe: {probe}`, it belongs to {}",
                    map.label,
                    probes.iter().map(|probe| format!("`{probe}`")).collect::<Vec<_>>().join(" and "),
                );
                self.mistakes.note(&item.span, message);
            }
        }
    }

    fn http_probe(&mut self, map: &Map) -> Option<HttpProbe> {
        let path = map.get("path").map_or_else(|| Some("/".to_owned()), |value| self.probe_path(value));
        let method = map.get("method").map_or_else(|| Some("GET".to_owned()), |value| self.probe_method(map, value));
        let host = map.get("host").and_then(|value| self.probe_host(map, value));
        let mut headers = Vec::new();
        for item in map.named("headers") {
            if let (Some(name), Some(text)) = (self.free_field_name(&item.key, &item.span), item.value.fixed()) {
                self.check_field_value(text, &item.value);
                headers.push((name, text.to_owned()));
            }
        }
        let statuses: Vec<_> = map.list("status").iter().filter_map(|value| self.statuses(value)).collect();
        let body = self.texts(map.list("body"), "body").into_iter().map(|(text, _)| text).collect();
        let statuses = if map.has("status") { statuses } else { vec![(200, 399)] };
        Some(HttpProbe { path: path?, method: method?, host, headers, statuses, body })
    }

    fn probe_method(&mut self, map: &Map, value: &Value) -> Option<String> {
        let text = value.fixed()?;
        if !fields::is_token(text) {
            self.note(value, format!("`method` of {}: `{text}` is no method", map.label));
        }
        Some(text.to_owned())
    }

    fn probe_path(&mut self, value: &Value) -> Option<String> {
        let text = value.fixed()?;
        let is_legal = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !is_legal {
            self.note(value, format!("`{text}` is no path, write it as it is sent, such as `/healthz?full=1`"));
        }
        is_legal.then(|| text.to_owned())
    }

    /// A host as it is sent, with or without a port.
    fn probe_host(&mut self, map: &Map, value: &Value) -> Option<String> {
        let text = value.fixed()?;
        let bare = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') && port.parse::<u16>().is_ok() => host,
            _ => text,
        };
        match name::host(bare) {
            Ok(_) => Some(text.to_ascii_lowercase()),
            Err(why) => {
                self.note(value, format!("`host` of {}: {why}", map.label));
                None
            }
        }
    }

    fn service(&mut self, map: &Map, value: &Value) -> Option<String> {
        let text = value.fixed()?;
        let is_legal = text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_legal {
            self.note(value, format!("`service` of {}: `{text}` is no name of a service", map.label));
        }
        is_legal.then(|| text.to_owned())
    }

    /// `200` or `200-299`.
    fn statuses(&mut self, value: &Value) -> Option<(u16, u16)> {
        let text = value.fixed()?;
        let status = |text: &str| text.parse::<u16>().ok().filter(|status| (200..600).contains(status));
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let range = status(from).zip(status(to)).filter(|(from, to)| from <= to);
        if range.is_none() {
            self.note(value, format!("`{text}` is no status from 200 to 599 and no range of them such as `200-299`"));
        }
        range
    }
}

/// Keys that mean something to some probes alone.
const KEYS_OF_PROBES: [(&str, &[&str]); 7] = [
    ("path", &["http"]),
    ("method", &["http"]),
    ("host", &["http", "grpc", "tls"]),
    ("headers", &["http"]),
    ("status", &["http"]),
    ("body", &["http"]),
    ("service", &["grpc"]),
];
