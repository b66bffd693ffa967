//! The keys of certificates and TLS. Each case is also a test of its own, with its friends.

use super::Case;
use crate::tls::{acme, addresses, clients, files, folders, handshakes, made, servers};

pub(super) const CASES: &[Case] = &[
    (
        &["certificates", "certificates.*.cert", "certificates.*.key"],
        files::mistakes_in_files_refuse_the_start_with_their_places,
    ),
    (&["certificates.*.ocsp"], files::what_an_authority_says_is_stapled_to_the_certificate_and_follows_its_file),
    (&["certificates.*.folder"], folders::every_pair_of_a_folder_is_shown_and_pairs_may_come_change_and_go),
    (
        &[
            "certificates.*.acme",
            "certificates.*.acme.directory",
            "certificates.*.acme.email",
            "certificates.*.acme.challenges",
        ],
        acme::a_certificate_is_asked_for_by_a_request_and_kept_over_a_restart,
    ),
    (&["certificates.*.acme.domains"], acme::a_certificate_is_asked_for_by_a_handshake_with_domains_that_are_said),
    (
        &["certificates.*.acme.eab", "certificates.*.acme.eab.id", "certificates.*.acme.eab.key"],
        acme::an_authority_may_want_to_know_its_customers,
    ),
    (&["certificates.*.acme.ca"], acme::an_authority_that_is_away_at_the_start_is_asked_again),
    (&["certificates.*.internal"], made::a_certificate_is_made_for_the_hosts_of_the_routes_and_this_machine),
    (&["certificates.*.internal.hosts"], made::hosts_of_a_made_certificate_may_be_said_and_come_from_sites),
    (&["certificates.*.default"], clients::the_first_certificate_is_the_default_of_those_that_have_none),
    (
        &["listeners.*.tls", "listeners.*.tls.certificates"],
        clients::a_name_is_shown_its_own_certificate_else_the_wildcards_else_the_default,
    ),
    (&["listeners.*.tls.min_version"], clients::both_versions_are_spoken_unless_the_oldest_is_said),
    (&["listeners.*.tls.ciphers", "listeners.*.tls.groups"], clients::suites_and_groups_may_be_chosen),
    (&["pools.*.tls.ciphers", "pools.*.tls.groups"], servers::suites_and_groups_may_be_chosen_for_servers_too),
    (
        &["listeners.*.tls.client_cert", "listeners.*.tls.client_cert.ca", "listeners.*.tls.client_cert.mode"],
        clients::client_certificates_are_optional_or_required_and_bad_ones_always_fail,
    ),
    (&["listeners.*.bind.*.tls"], addresses::an_address_may_have_its_own_tls_or_none),
    (&["listeners.*.timeouts.tls_handshake"], handshakes::a_handshake_that_takes_too_long_is_broken_off),
    (&["listeners.*.limits.handshakes"], handshakes::handshakes_beyond_their_number_are_refused),
    (
        &["pools.*.tls", "pools.*.tls.server_name", "pools.*.tls.ca", "pools.*.tls.verify"],
        servers::a_server_must_be_who_it_should_be,
    ),
    (&["pools.*.tls.certificate"], servers::a_server_may_ask_who_we_are),
    (&["pools.*.tls.min_version"], servers::the_oldest_version_holds_for_servers_too),
    (
        &["listeners.*.routes.*.match.alpn"],
        clients::the_protocol_is_agreed_on_in_the_handshake_and_a_route_may_ask_for_it,
    ),
    (&["listeners.*.routes.*.match.sni"], clients::a_route_may_ask_for_the_name_in_the_handshake),
    (
        &[
            "listeners.*.routes.*.match.client_cert",
            "listeners.*.routes.*.match.client_cert.present",
            "listeners.*.routes.*.match.client_cert.fingerprint",
        ],
        clients::a_route_may_ask_for_a_client_certificate,
    ),
];
