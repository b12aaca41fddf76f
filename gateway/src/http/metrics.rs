//! What the HTTP side counts.

use metrics::{counter, describe_counter};

const ACCEPTED: &str = "rookery_gateway_http_accepted_total";
const ACCEPT_ERRORS: &str = "rookery_gateway_http_accept_errors_total";
const REFUSED: &str = "rookery_gateway_http_refused_total";
const REQUESTS: &str = "rookery_gateway_http_requests_total";
const UPGRADES: &str = "rookery_gateway_http_upgrades_total";

/// Describes the metrics of this module.
pub(crate) fn describe() {
    describe_counter!(ACCEPTED, "Connections accepted");
    describe_counter!(ACCEPT_ERRORS, "Accepts that failed");
    describe_counter!(
        REFUSED,
        "Connections refused because the bound on connections was reached"
    );
    describe_counter!(REQUESTS, "HTTP requests answered, by route and status");
    describe_counter!(UPGRADES, "Connections handed over as sessions");
}

pub(super) fn accepted() {
    counter!(ACCEPTED).increment(1);
}

pub(super) fn accept_failed() {
    counter!(ACCEPT_ERRORS).increment(1);
}

pub(super) fn refused() {
    counter!(REFUSED).increment(1);
}

pub(super) fn upgraded() {
    counter!(UPGRADES).increment(1);
}

/// `status` comes from our own code, so both labels are closed sets.
pub(super) fn answered(route: &'static str, status: hyper::StatusCode) {
    counter!(REQUESTS, "route" => route, "status" => status.as_str().to_owned()).increment(1);
}
