//! Rules for hours of days.

use std::time::{SystemTime, UNIX_EPOCH};

use testkit::Server;

use crate::forward::{OPEN, asked, port};
use crate::support::start;

/// A minute of the day, so many after now, where the clock is so many ahead of UTC.
fn minute(after: i64, ahead: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs() as i64 / 60;
    let minute = (now + after + ahead).rem_euclid(24 * 60);
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

#[test]
pub(crate) fn hours_decide_in_their_zone_for_requests_and_tunnels() {
    let server = Server::named("one");
    for (zone, ahead) in [("UTC", 0), ("'+05:30'", 330), ("Asia/Kolkata", 330)] {
        // From a while ago for hours, or from then until a while ago: over midnight, if need be.
        let now = format!("{}-{}", minute(-60, ahead), minute(180, ahead));
        let later = format!("{}-{}", minute(180, ahead), minute(-60, ahead));
        for (hours, status) in [(&now, 403), (&later, 200)] {
            let rule = format!("time: {{ days: [mon-wed, thu, fri-sun], hours: '{hours}', zone: {zone} }}");
            let routes = format!("routes: [{{ match: {{ host: a.test, {rule} }}, deny: 403 }}, {{ to: origin }}]");
            let tidegate = start(&OPEN.replace("@MORE", &routes), &[]);
            let target = format!("http://a.test:{}/", port(&server));
            assert_eq!(tidegate.client().ask(asked(&target)).status, status, "{zone} {hours}");
            assert_eq!(tidegate.client().ask(asked(&target.replace("a.test", "b.test"))).status, 200);
            let mut client = tidegate.client();
            client.send(format!("CONNECT a.test:{0} HTTP/1.1\r\nHost: a.test:{0}\r\n\r\n", port(&server)));
            assert_eq!(client.head().status, status, "{zone} {hours}");
        }
    }
}

#[test]
fn several_times_are_any_of_them() {
    let rule =
        format!("[{{ hours: '{0}-{1}' }}, {{ days: [mon-sun], hours: '{1}-{0}' }}]", minute(180, 0), minute(-60, 0));
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, routes: [{{ match: {{ time: {rule} }}, respond: 299 }}, {{ respond: 200 }}] }} }}\n"
    );
    assert_eq!(start(&text, &[]).client().get("/").status, 299);
}
