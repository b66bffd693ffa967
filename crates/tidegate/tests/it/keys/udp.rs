//! The keys of what comes by UDP: flows and HTTP/3. Each case is also a test of its own, with its friends.

use super::Case;
use crate::h3::early;
use crate::udp::{limits, quic};

pub(super) const CASES: &[Case] = &[
    (
        &["listeners.*.timeouts.flow", "pools.*.timeouts.flow", "sites.*.timeouts.flow"],
        limits::the_nearest_level_says_how_long_silence_may_last,
    ),
    (&["pools.*.quic", "pools.*.quic.ids"], quic::a_client_whose_port_changes_behind_its_back_keeps_its_server),
    (&["pools.*.quic.max"], quic::only_so_many_ids_are_remembered),
    (
        &["pools.*.servers.*.quic_id", "pools.*.quic.offset", "pools.*.quic.length"],
        quic::a_client_may_move_by_itself_where_servers_write_who_they_are_into_their_ids,
    ),
    (
        &["listeners.*.http3", "listeners.*.http3.advertise", "listeners.*.http3.port", "listeners.*.http3.max_age"],
        early::what_clients_are_told_can_be_chosen,
    ),
    (&["listeners.*.http3.early_data"], early::safe_requests_may_come_early_where_that_is_allowed),
];
