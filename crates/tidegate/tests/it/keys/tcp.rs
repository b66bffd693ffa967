//! The keys of flows. Each case is also a test of its own, with its friends.

use super::Case;
use crate::tcp::{coalesce, mail, mqtt, postgres, transparent};

pub(super) const CASES: &[Case] = &[
    (
        &["listeners.*.tls.starttls", "listeners.*.tls.starttls.protocol"],
        postgres::tls_ends_here_after_the_question_for_it,
    ),
    (&["listeners.*.tls.starttls.required"], mail::plain::a_client_that_does_not_want_it_reaches_its_server_in_plain),
    (
        &["pools.*.tls.starttls", "pools.*.tls.starttls.protocol"],
        mail::tls_begins_here_and_the_client_is_greeted_by_the_server,
    ),
    (&["pools.*.tls.starttls.required"], mail::plain::a_server_that_has_none_is_spoken_to_in_plain),
    (
        &[
            "listeners.*.routes.*.match.postgres",
            "listeners.*.routes.*.match.postgres.user",
            "listeners.*.routes.*.match.postgres.database",
        ],
        postgres::users_and_databases_choose_the_way,
    ),
    (
        &["listeners.*.routes.*.match.mqtt", "listeners.*.routes.*.match.mqtt.client_id"],
        mqtt::identifiers_choose_the_way,
    ),
    (&["pools.*.coalesce", "listeners.*.coalesce.bytes"], coalesce::enough_bytes_wait_for_nothing),
    (&["listeners.*.coalesce.delay"], coalesce::the_first_byte_waits_for_others_as_long_as_it_is_told_and_no_longer),
    (&["listeners.*.coalesce"], coalesce::each_direction_is_on_its_own),
    (&["pools.*.source"], transparent::a_process_that_may_not_is_told_what_it_needs),
];
