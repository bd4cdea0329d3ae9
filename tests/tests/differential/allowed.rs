//! Differences between a real Mongrel2 and Kennel's front that are meant, each with its reason.
//!
//! Disconnect notices are not compared: Mongrel2 does not send one for each connection, the front does.

use super::case::{Case, Trait};
use super::outcome::Outcome;

/// A difference that is meant.
pub(crate) struct Allowed {
    /// For the summary.
    pub(crate) name: &'static str,
    /// Why the front does not do what Mongrel2 does.
    #[expect(dead_code, reason = "for readers")]
    pub(crate) reason: &'static str,
    /// Whether these two outcomes of a case, of Mongrel2 and of the front, differ for this reason.
    pub(crate) fits: fn(&Case, &Outcome, &Outcome) -> bool,
}

/// All of them.
pub(crate) const ALLOWED: [Allowed; 10] = [
    Allowed {
        name: "blanks behind values",
        reason: "blanks around a value are not part of it (RFC 9110, 5.5); Mongrel2 removes only those before it",
        fits: |case, mongrel2, front| {
            case.has(Trait::TrailingBlank) && mongrel2.messages.len() == front.messages.len()
        },
    },
    Allowed {
        name: "short paths",
        reason: "for Mongrel2, a path that ends within a route's key reaches this route: `/a` reaches `/a/b`",
        fits: |case, mongrel2, front| {
            case.has(Trait::ShortPath) && mongrel2.messages.len() == front.messages.len()
        },
    },
    Allowed {
        name: "requests behind an upload",
        reason: "Mongrel2 writes bytes that stand behind the body into the body's file, and loses the request in them",
        fits: |case, mongrel2, front| {
            case.has(Trait::BehindUpload) && mongrel2.messages.len() <= front.messages.len()
        },
    },
    Allowed {
        name: "doubtful lengths",
        reason: "a body whose length is not certain may be taken for a request by one of two servers (RFC 9112, 6.3)",
        fits: |case, _, front| case.has(Trait::DoubtfulLength) && front.is_refusal(),
    },
    Allowed {
        name: "loose lines",
        reason: "LF alone, folded lines and a lone CR are read in different ways by different servers (RFC 9112, 2.2 and 5.2)",
        fits: |case, _, front| case.has(Trait::LooseLines) && front.is_refusal(),
    },
    Allowed {
        name: "six equal headers",
        reason: "Mongrel2 drops all values of a name behind the fifth one without a word",
        fits: |case, mongrel2, front| {
            case.has(Trait::ManyEqualHeaders) && mongrel2.messages.len() == front.messages.len()
        },
    },
    Allowed {
        name: "forged upload headers",
        reason: "clients that send x-mongrel2-upload-* could name files of the server to its handlers",
        fits: |case, mongrel2, front| {
            case.has(Trait::MongrelsOwnHeader) && mongrel2.messages.len() == front.messages.len()
        },
    },
    Allowed {
        name: "texts of errors",
        reason: "the front's own responses have another text than Mongrel2's, with the same status",
        fits: |_, mongrel2, front| {
            mongrel2.messages == front.messages
                && mongrel2.last_status().is_some_and(|status| status >= 400)
                && mongrel2.last_status() == front.last_status()
        },
    },
    Allowed {
        name: "garbage is read to the end of the head",
        reason: "the front takes bytes above 0x7F in a path for a head that is not complete yet, and waits for the rest",
        fits: |case, mongrel2, front| {
            case.has(Trait::Garbage)
                && mongrel2.is_refusal()
                && front.answer.is_empty()
                && mongrel2.messages == front.messages
        },
    },
    Allowed {
        name: "garbage gets a word",
        reason: "Mongrel2 closes some connections without a response where the front says 400",
        fits: |case, mongrel2, front| {
            case.has(Trait::Garbage)
                && mongrel2.messages == front.messages
                && mongrel2.closed
                && front.is_refusal()
        },
    },
];
