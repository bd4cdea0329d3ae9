//! `[limits]`: bounds that differ from their defaults.

use super::values;
use handler_core::hub::Limits;
use serde::Deserialize;
use std::time::Duration;

/// `[limits]`: the names are those of [`Limits`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitSettings {
    #[serde(default, deserialize_with = "values::duration")]
    request_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "values::duration")]
    script_time: Option<Duration>,
    #[serde(default, deserialize_with = "values::duration")]
    load_time: Option<Duration>,
    #[serde(default, deserialize_with = "values::duration")]
    stop_time: Option<Duration>,
    #[serde(default, deserialize_with = "values::duration")]
    hook_time: Option<Duration>,
    #[serde(default, deserialize_with = "values::size")]
    queue: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    worker_jobs: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    pipeline: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    spill: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    server_output: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    connection_output: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    channel_queue: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    upload: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    upload_total: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    upload_total_per_address: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    upload_rate: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    rooms: Option<usize>,
    #[serde(default, deserialize_with = "values::duration")]
    keep_alive: Option<Duration>,
    #[serde(default, deserialize_with = "values::size")]
    connections: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    sessions: Option<usize>,
    #[serde(default, deserialize_with = "values::duration")]
    poll_wait: Option<Duration>,
    #[serde(default, deserialize_with = "values::duration")]
    inactivity: Option<Duration>,
    #[serde(default, deserialize_with = "values::size")]
    mailbox: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    resume: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    handler_targets: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    conversations: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    conversations_per_address: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    sessions_per_address: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    bodies_per_address: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    worker_memory: Option<usize>,
    #[serde(default, deserialize_with = "values::answer_size")]
    exec_line: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    log_queue: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    form_parts: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    form_field: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    form_header: Option<usize>,
    #[serde(default, deserialize_with = "values::size")]
    form_memory: Option<usize>,
}

impl LimitSettings {
    /// The bounds in force.
    pub(super) fn in_force(&self) -> Limits {
        let mut limits = Limits::default();
        let set = self;
        let assign = [
            (&mut limits.request_timeout, set.request_timeout),
            (&mut limits.script_time, set.script_time),
            (&mut limits.load_time, set.load_time),
            (&mut limits.stop_time, set.stop_time),
            (&mut limits.hook_time, set.hook_time),
            (&mut limits.keep_alive, set.keep_alive),
            (&mut limits.poll_wait, set.poll_wait),
            (&mut limits.inactivity, set.inactivity),
        ];
        assign.into_iter().for_each(|(limit, value)| *limit = value.unwrap_or(*limit));
        let defaults = Limits::default();
        // One body of the size that is allowed may come.
        let at_least_one = |total: usize| set.upload.map(|upload| upload.max(total));
        let assign = [
            (&mut limits.queue, set.queue),
            (&mut limits.worker_jobs, set.worker_jobs),
            (&mut limits.pipeline, set.pipeline),
            (&mut limits.spill, set.spill),
            (&mut limits.server_output, set.server_output),
            (&mut limits.connection_output, set.connection_output),
            (&mut limits.channel_queue, set.channel_queue),
            (&mut limits.upload, set.upload),
            (&mut limits.upload_total, set.upload_total.or(at_least_one(defaults.upload_total))),
            (
                &mut limits.upload_total_per_address,
                set.upload_total_per_address.or(at_least_one(defaults.upload_total_per_address)),
            ),
            (&mut limits.upload_rate, set.upload_rate),
            (&mut limits.rooms, set.rooms),
            (&mut limits.handler_targets, set.handler_targets),
            (&mut limits.connections, set.connections),
            (&mut limits.sessions, set.sessions),
            (&mut limits.mailbox, set.mailbox),
            (&mut limits.resume, set.resume),
            (&mut limits.conversations, set.conversations),
            (&mut limits.conversations_per_address, set.conversations_per_address),
            (&mut limits.sessions_per_address, set.sessions_per_address),
            (&mut limits.bodies_per_address, set.bodies_per_address),
            (&mut limits.worker_memory, set.worker_memory),
            (&mut limits.exec_line, set.exec_line),
            (&mut limits.log_queue, set.log_queue),
            (&mut limits.form.parts, set.form_parts),
            (&mut limits.form.field, set.form_field),
            (&mut limits.form.header, set.form_header),
            (&mut limits.form.memory, set.form_memory),
        ];
        assign.into_iter().for_each(|(limit, value)| *limit = value.unwrap_or(*limit));
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use std::path::Path;

    #[test]
    fn each_limit_can_be_set_as_it_is_shown() {
        for (name, value, _) in Limits::default().described() {
            let is_number = value.parse::<u64>().is_ok();
            let value = if is_number { value } else { format!("\"{value}\"") };
            let text = format!("[limits]\n{name} = {value}\n");
            let config = Config::parse(Path::new("kennel.toml"), &text);
            assert!(config.is_ok(), "{text}: {}", config.unwrap_err());
        }
    }
}
