//! The answers that the hub gives itself, and their words; workers that answer for a program that died use the same.

use crate::hub::context::Context;
use crate::hub::request::Plan;

/// Text for a status: one line for people, which names no internals.
pub fn text(status: u16) -> &'static str {
    match status {
        400 => "400 Bad Request: this server does not understand the request.\n",
        403 => "403 Forbidden: a page from elsewhere may not use this channel.\n",
        404 => "404 Not Found: there is nothing at this address.\n",
        405 => "405 Method Not Allowed: this address does not take that method; see the Allow header.\n",
        408 => "408 Request Timeout: the body of the request came too slowly.\n",
        412 => "412 Precondition Failed: the client has another version.\n",
        413 => "413 Content Too Large: the body is larger than this server takes.\n",
        421 => "421 Misdirected Request: this server does not answer to this host name.\n",
        426 => "426 Upgrade Required: this address takes WebSockets only.\n",
        502 => {
            "502 Bad Gateway: the program that was answering has died. Whether it did its work is unknown.\n"
        }
        503 => "503 Service Unavailable: too many requests are waiting. Try again in a second.\n",
        504 => "504 Gateway Timeout: the answer took too long.\n",
        _ => "500 Internal Server Error\n",
    }
}

/// The text of a 503 while the server stops.
pub const STOPPING: &str = "503 Service Unavailable: the server is stopping. Try again in a second.\n";

/// The header lines of such an answer; `allow` for 405 and OPTIONS.
pub fn head(status: u16, allow: Option<&str>) -> String {
    let mut lines = String::from("Content-Type: text/plain; charset=utf-8\r\n");
    if let Some(allow) = allow {
        lines.push_str("Allow: ");
        lines.push_str(allow);
        lines.push_str("\r\n");
    }
    if status == 426 {
        lines.push_str("Upgrade: websocket\r\n");
    }
    if status == 503 {
        lines.push_str("Retry-After: 1\r\n");
    }
    lines
}

/// An answer that says what is wrong.
pub(in crate::hub) fn explain(status: u16, cors: &str, words: &str) -> Plan {
    let head = head(status, None) + "Cache-Control: no-store\r\n" + cors;
    let reason = kennel_http::status::reason(status);
    Plan::Answer { status, head, body: format!("{status} {reason}: {words}.\n") }
}

/// An answer that needs no script.
pub(in crate::hub) fn own_answer(status: u16, allow: Option<&str>) -> Plan {
    let (head, body) = match status {
        204 => (format!("Allow: {}\r\n", allow.unwrap_or_default()), String::new()),
        status => (head(status, allow), text(status).to_owned()),
    };
    Plan::Answer { status, head, body }
}

/// A page of the hub's own. While the server stops, a 503 says so, and a 421 says which hosts there are.
pub(in crate::hub) fn own_page(cx: &Context, status: u16) -> Plan {
    let mut plan = own_answer(status, None);
    if status == 503
        && cx.stopping.is_some()
        && let Plan::Answer { body, .. } = &mut plan
    {
        STOPPING.clone_into(body);
    }
    if status == 421
        && let (Some(hosts), Plan::Answer { body, .. }) = (&cx.servers.hosts, &mut plan)
    {
        hosts.page().clone_into(body);
    }
    plan
}
