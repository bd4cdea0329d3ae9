//! Differences between a real Mongrel2 and Kennel's front that are meant, each with its reason.
//!
//! Some change only what messages say: they are [undone](Change) on both sides, and nothing else may differ then. Others
//! change [what happens](Rule). A long run fails when it needs one of them not once.
//!
//! Disconnect notices are not compared: Mongrel2 does not send one for each connection, the front does.

use super::case::{Case, Trait};
use super::outcome::{Message, Outcome};

/// A difference in what messages say.
struct Change {
    name: &'static str,
    /// Why the front does not do what Mongrel2 does.
    #[expect(dead_code, reason = "for readers")]
    reason: &'static str,
    /// What a case must have for it.
    about: Trait,
    /// Makes a message of either server the one of both.
    undo: fn(&mut Message),
}

/// A difference in which messages there are, and what the client gets.
struct Rule {
    name: &'static str,
    /// Why the front does not do what Mongrel2 does.
    #[expect(dead_code, reason = "for readers")]
    reason: &'static str,
    /// Whether these two outcomes of a case, of Mongrel2 and of the front, differ for this reason alone.
    fits: fn(&Case, &Outcome, &Outcome) -> bool,
}

const CHANGES: [Change; 4] = [
    Change {
        name: "blanks behind values",
        reason: "blanks around a value are not part of it (RFC 9110, 5.5); Mongrel2 removes only those before it",
        about: Trait::TrailingBlank,
        undo: |message| message.each_value(|value| value.truncate(value.trim_end().len())),
    },
    Change {
        name: "short paths",
        reason: "for Mongrel2, a path that ends within a route's key reaches this route: `/a` reaches `/a/b`",
        about: Trait::ShortPath,
        undo: |message| message.forget_route(),
    },
    Change {
        name: "six equal headers",
        reason: "Mongrel2 drops all values of a name behind the fifth one without a word",
        about: Trait::ManyEqualHeaders,
        undo: |message| message.forget_header("x-same"),
    },
    Change {
        name: "forged upload headers",
        reason: "clients that send x-mongrel2-upload-* could name files of the server to its handlers",
        about: Trait::MongrelsOwnHeader,
        undo: |message| message.forget_header("x-mongrel2-upload-done"),
    },
];

const RULES: [Rule; 7] = [
    Rule {
        name: "requests behind an upload",
        reason: "Mongrel2 writes bytes that stand behind the body into the body's file, and loses the request in them",
        fits: |case, mongrel2, front| {
            case.has(Trait::BehindUpload) && is_part(&mongrel2.messages, &front.messages)
        },
    },
    Rule {
        name: "doubtful lengths",
        reason: "a body whose length is not certain may be taken for a request by one of two servers (RFC 9112, 6.3)",
        fits: |case, mongrel2, front| {
            case.has(Trait::DoubtfulLength) && front.is_refusal() && is_cut_short(case, mongrel2, front)
        },
    },
    Rule {
        name: "loose lines",
        reason: "LF alone, folded lines and a lone CR are read in different ways by different servers (RFC 9112, 2.2 and 5.2)",
        fits: |case, mongrel2, front| {
            case.has(Trait::LooseLines) && front.is_refusal() && is_cut_short(case, mongrel2, front)
        },
    },
    Rule {
        name: "requests behind the last one",
        reason: "what follows the request that a client calls its last is not processed (RFC 9112, 9.6)",
        fits: |case, mongrel2, front| {
            case.has(Trait::BehindLast)
                && is_part(&front.messages, &mongrel2.messages)
                && mongrel2.answer.starts_with(&front.answer)
        },
    },
    Rule {
        name: "requests behind a close",
        reason: "a client whose handler closes gets no further response; whether its next request was read is chance",
        fits: |case, mongrel2, front| {
            case.has(Trait::BehindClose)
                && (mongrel2.closed, &mongrel2.answer) == (front.closed, &front.answer)
                && (is_part(&front.messages, &mongrel2.messages)
                    || is_part(&mongrel2.messages, &front.messages))
        },
    },
    Rule {
        name: "texts of errors",
        reason: "the front's own responses have another text than Mongrel2's, with the same status",
        fits: |_, mongrel2, front| {
            mongrel2.messages == front.messages
                && mongrel2.closed == front.closed
                && mongrel2.last_status().is_some_and(|status| status >= 400)
                && mongrel2.last_status() == front.last_status()
                && mongrel2.before_last() == front.before_last()
        },
    },
    Rule {
        name: "garbage is read to the end of the head",
        reason: "the front takes bytes above 0x7F in a path for a head that is not complete yet, and waits for the rest",
        fits: |case, mongrel2, front| {
            case.has(Trait::Garbage)
                && mongrel2.is_refusal()
                && front.answer.is_empty()
                && !front.closed
                && mongrel2.messages == front.messages
        },
    },
];

/// The names of all of them.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    CHANGES.iter().map(|change| change.name).chain(RULES.iter().map(|rule| rule.name))
}

/// Why two outcomes of a case differ, of Mongrel2 and of the front. `None`: they should not.
pub(crate) fn explain(case: &Case, mongrel2: &Outcome, front: &Outcome) -> Option<Vec<&'static str>> {
    let (mut mongrel2, mut front) = (mongrel2.clone(), front.clone());
    let mut names = Vec::new();
    for change in CHANGES.iter().filter(|change| case.has(change.about)) {
        let before = mongrel2.messages == front.messages;
        mongrel2.messages.iter_mut().chain(&mut front.messages).for_each(change.undo);
        if !before {
            names.push(change.name);
        }
    }
    if mongrel2 == front {
        return Some(names);
    }
    let rule = RULES.iter().find(|rule| (rule.fits)(case, &mongrel2, &front))?;
    Some(vec![rule.name])
}

/// Whether all messages of `part` are in `whole`, in this order.
fn is_part(part: &[Message], whole: &[Message]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|message| rest.any(|other| other == message))
}

/// Whether the front refused a request and otherwise did what Mongrel2 did until then, which may close before earlier
/// requests have their responses. All requests of a case go to one
/// handler, so their order is known. Of requests behind an upload, Mongrel2 has lost some.
fn is_cut_short(case: &Case, mongrel2: &Outcome, front: &Outcome) -> bool {
    let gets_answers = mongrel2.answer.starts_with(front.before_last()) || overtakes(mongrel2, front);
    let is_behind = case.has(Trait::BehindUpload) || case.has(Trait::BehindClose);
    is_behind || (mongrel2.messages.starts_with(&front.messages) && gets_answers)
}

/// Whether both refused with the same status, and Mongrel2 did so before earlier requests had their responses.
fn overtakes(mongrel2: &Outcome, front: &Outcome) -> bool {
    let statuses = (mongrel2.last_status(), front.last_status());
    mongrel2.closed
        && front.closed
        && statuses.0.is_some_and(|status| status >= 400)
        && statuses.0 == statuses.1
        && mongrel2.before_last().len() < front.before_last().len()
        && front.before_last().starts_with(mongrel2.before_last())
}
