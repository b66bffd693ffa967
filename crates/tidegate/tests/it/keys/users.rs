//! The keys of users, and of times. Each case is also a test of its own, with its friends.

use super::Case;
use crate::users::{basic, groups, others, times};

pub(super) const CASES: &[Case] = &[
    (
        &["policies.*.*.basic_auth", "policies.*.*.basic_auth.users", "policies.*.*.basic_auth.realm"],
        basic::who_shows_a_password_comes_in_and_servers_do_not_see_it,
    ),
    (&["policies.*.*.basic_auth.forward"], basic::sites_and_routes_ask_for_themselves_and_in_addition),
    (
        &["policies.*.*.basic_auth.groups", "listeners.*.routes.*.match.user", "listeners.*.routes.*.match.group"],
        groups::rules_ask_for_users_and_groups_by_a_map_or_a_file_that_is_watched,
    ),
    (
        &[
            "policies.*.*.bearer_auth",
            "policies.*.*.bearer_auth.tokens",
            "policies.*.*.bearer_auth.realm",
            "policies.*.*.bearer_auth.groups",
            "policies.*.*.bearer_auth.forward",
        ],
        others::tokens_let_in_and_any_way_of_several_is_enough,
    ),
    (
        &["policies.*.*.cert_auth", "policies.*.*.cert_auth.name", "policies.*.*.cert_auth.groups"],
        others::a_certificate_names_its_user,
    ),
    (
        &[
            "listeners.*.routes.*.match.time",
            "listeners.*.routes.*.match.time.*.days",
            "listeners.*.routes.*.match.time.*.hours",
            "listeners.*.routes.*.match.time.*.zone",
        ],
        times::hours_decide_in_their_zone_for_requests_and_tunnels,
    ),
];
