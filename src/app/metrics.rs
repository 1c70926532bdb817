//! What is counted for those who run the server. The rooms count with the macros of `metrics`; here
//! the counts are given their recorder, and their explanations.

use std::sync::LazyLock;

use metrics::{counter, describe_counter};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// The recorder of this process, from which the counts are read. There is one for all servers in it.
pub(super) fn recorder() -> PrometheusHandle {
    static RECORDER: LazyLock<PrometheusHandle> = LazyLock::new(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("this process has another recorder: /metrics stays empty");
        }
        describe();
        handle
    });
    RECORDER.clone()
}

fn describe() {
    describe_counter!(
        "pollen_cache_lookups_total",
        "Answers that were looked for in the response cache, by result."
    );
    describe_counter!(
        "pollen_cache_saved_tokens_total",
        "Tokens, in and out, of the answers that came out of the response cache."
    );
    describe_counter!(
        "pollen_cache_faults_total",
        "Commands to Redis that failed; the model was asked instead, or this node's own limits."
    );
    describe_counter!(
        "pollen_rate_limited_total",
        "Requests that were refused because there were too many of one caller's, by budget."
    );
    describe_counter!(
        "pollen_shed_total",
        "Requests that were refused because too many were in flight."
    );
    // A count that is not there yet cannot be told from one that is gone.
    for result in ["hit", "miss"] {
        counter!("pollen_cache_lookups_total", "result" => result).absolute(0);
    }
    counter!("pollen_cache_saved_tokens_total").absolute(0);
    counter!("pollen_cache_faults_total").absolute(0);
    for budget in ["polls", "sends", "changes", "unknown"] {
        counter!("pollen_rate_limited_total", "budget" => budget).absolute(0);
    }
    counter!("pollen_shed_total").absolute(0);
}
