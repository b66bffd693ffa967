//! The families that routes and servers have in common.

use std::collections::BTreeMap;

use crate::stats::{Class, RequestStats, Requests};

use super::page::{Label, Page, labels};

/// A family's name and its help.
type Named = (&'static str, &'static str);

/// The names of what [`RequestStats`] count.
pub(super) struct Families {
    requests: Named,
    seconds: Named,
    bytes: Named,
    faults: Named,
}

/// What is counted for a listener's route.
pub(super) const ROUTE_FAMILIES: Families = Families {
    requests: ("tidegate_requests_total", "Finished requests, by the class of the status that was sent."),
    seconds: (
        "tidegate_request_seconds",
        "Time from the first byte of a request to the last byte of its response, in seconds.",
    ),
    bytes: ("tidegate_request_bytes_total", "Bytes of bodies: `in` came from clients, `out` went to them."),
    faults: ("tidegate_faults_total", "Requests that went wrong, by whose side it was and the fault's code."),
};

/// What is counted for a pool's server.
pub(super) const SERVER_FAMILIES: Families = Families {
    requests: (
        "tidegate_server_requests_total",
        "Requests sent to the server, by the class of the status it answered.",
    ),
    seconds: (
        "tidegate_server_request_seconds",
        "Time from sending the request to the server's complete response head, in seconds.",
    ),
    bytes: ("tidegate_server_bytes_total", "Bytes of bodies: `in` went to the server, `out` came from it."),
    faults: ("tidegate_server_faults_total", "Tries at the server that went wrong, by side and the fault's code."),
};

/// One series: its labels and its sum over the workers.
type Rows<'a> = BTreeMap<Vec<(&'static str, &'a str)>, Requests>;

impl Families {
    /// Writes the four families for these rows. Rows with equal labels become one, for a page must not say a thing twice.
    pub(super) fn write<'a, const N: usize>(
        &self,
        page: &mut Page,
        of: impl Iterator<Item = ([(&'static str, &'a str); N], &'a RequestStats)>,
    ) {
        let mut rows = Rows::new();
        for (labels, stats) in of {
            rows.entry(labels.to_vec()).or_default().merge(&stats.read());
        }
        let by_class = |row: &Requests| Class::ALL.map(|class| (class.name(), row.with_class(class)));
        let (name, help) = self.requests;
        page.counter(name, help, split(&rows, "code_class", by_class));
        let (name, help) = self.seconds;
        page.histogram(name, help, rows.iter().map(|(names, row)| (labels(names), &row.latency)));
        let by_direction = |row: &Requests| [("in", row.bytes_in), ("out", row.bytes_out)];
        let (name, help) = self.bytes;
        page.counter(name, help, split(&rows, "direction", by_direction));
        let (name, help) = self.faults;
        page.counter(name, help, faults(&rows));
    }
}

/// A sample for each row and each value of one more label.
fn split<'a, const N: usize>(
    rows: &'a Rows<'_>,
    by: &'static str,
    values: impl Fn(&Requests) -> [(&'static str, u64); N] + 'a,
) -> impl Iterator<Item = (Vec<Label>, f64)> + 'a {
    rows.iter().flat_map(move |(names, row)| {
        values(row).map(|(value, count)| (labels(&[names.as_slice(), &[(by, value)]].concat()), count as f64))
    })
}

/// Only faults that happened have a sample: there are too many kinds for all to be shown.
fn faults(rows: &Rows<'_>) -> impl Iterator<Item = (Vec<Label>, f64)> {
    rows.iter().flat_map(|(names, row)| {
        row.faults().map(move |(side, kind, count)| {
            let fault = [("side", crate::side_name(side)), ("code", kind.code())];
            (labels(&[names.as_slice(), &fault].concat()), count as f64)
        })
    })
}
