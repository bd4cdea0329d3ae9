use super::test_hub::{counted, ended, pair, with_python};
use super::*;
use handler_core::worker::protocol::{encode_answer, encode_lead, encode_stop};
use std::thread;

fn done(serial: u64) -> Action<'static> {
    Action::Done { serial }
}

/// Begins jobs that the hub has not taken back.
fn begun(link: &Link, serials: &[u64]) {
    for serial in serials {
        assert!(link.begin(*serial));
    }
}

// What leaves when.

#[test]
fn actions_of_a_turn_leave_together_at_its_end() {
    let (mut hub, link) = pair();
    link.set_in_turn(true);
    with_python(|py| [1, 2].map(|serial| link.push(py, &done(serial))));
    assert!(hub.batches().is_empty());
    link.flush().unwrap();
    assert_eq!(hub.batches(), [["done 1", "done 2"]]);
}

#[test]
fn actions_outside_of_a_turn_ask_the_loop_once_to_send_them() {
    let (mut hub, link) = pair();
    with_python(|py| {
        let (ask, asked) = counted(py);
        link.set_flush_soon(ask, py.None());
        link.push(py, &done(1));
        link.push(py, &done(2));
        assert_eq!(asked.bind(py).len(), 1);
        assert!(hub.batches().is_empty());
        link.flush().unwrap();
        assert_eq!(hub.batches(), [["done 1", "done 2"]]);
        link.push(py, &done(3));
        assert_eq!(asked.bind(py).len(), 2, "what was sent is over: this is asked for anew");
    });
}

#[test]
fn an_action_of_another_thread_leaves_at_once_with_those_before_it() {
    let (mut hub, link) = pair();
    link.set_in_turn(true);
    with_python(|py| link.push(py, &done(1)));
    let other = Arc::clone(&link);
    ended(thread::spawn(move || with_python(|py| other.push(py, &done(2)))));
    assert_eq!(hub.batches(), [["done 1", "done 2"]]);
}

#[test]
fn answers_that_have_waited_leave_before_the_next_script_begins() {
    let (mut hub, link) = pair();
    link.set_in_turn(true);
    begun(&link, &[1]);
    with_python(|py| assert!(link.end(py, 1, &done(1))));
    lock(&link.out).unsent_since = Instant::now() + Duration::from_secs(3600);
    begun(&link, &[2]);
    assert!(hub.batches().is_empty(), "this one has not waited");
    lock(&link.out).unsent_since = Instant::now().checked_sub(2 * FLUSH).unwrap();
    begun(&link, &[3]);
    assert_eq!(hub.batches(), [["done 1"]]);
}

#[test]
fn a_thread_that_sends_when_it_is_done_keeps_its_answers_while_it_is_watched() {
    let (mut hub, link) = pair();
    begun(&link, &[1, 2]);
    let other = Arc::clone(&link);
    let thread = thread::spawn(move || {
        Link::flush_when_done();
        other.set_watched(true);
        with_python(|py| assert!(other.end(py, 1, &done(1))));
        let kept = hub.batches();
        other.set_watched(false);
        with_python(|py| assert!(other.end(py, 2, &done(2))));
        (kept, hub.batches())
    });
    let (kept, sent) = ended(thread);
    assert!(kept.is_empty());
    assert_eq!(sent, [["done 1", "done 2"]], "without the watch it might wait for ever");
}

// The life of a job.

#[test]
fn a_job_is_answered_once() {
    let (mut hub, link) = pair();
    link.set_in_turn(true);
    begun(&link, &[1]);
    assert_eq!((link.is_unanswered(1), link.unanswered()), (true, 1));
    with_python(|py| {
        assert!(link.push_for(py, 1, &Action::Piece { serial: 1, bytes: b"a" }));
        assert!(link.end(py, 1, &done(1)));
        assert_eq!((link.is_unanswered(1), link.unanswered()), (false, 0));
        assert!(!link.end(py, 1, &done(1)));
        assert!(!link.push_for(py, 1, &Action::Piece { serial: 1, bytes: b"b" }));
    });
    link.flush().unwrap();
    assert_eq!(hub.batches(), [["piece of 1", "done 1"]]);
}

#[test]
fn a_job_that_the_hub_has_taken_back_does_not_start_and_the_hub_is_told() {
    let (mut hub, link) = pair();
    hub.page.revoke(2);
    assert!(!link.begin(1) && !link.begin_any(2));
    assert!(link.begin(3));
    assert!(!link.is_unanswered(1) && !link.is_unanswered(2) && link.is_unanswered(3));
    link.flush().unwrap();
    assert_eq!(hub.batches(), [["skipped 1", "skipped 2"]]);
}

#[test]
fn jobs_of_threads_start_in_any_order_and_the_hub_sees_the_highest() {
    let (hub, link) = pair();
    assert!(link.begin_any(5) && link.begin_any(4));
    assert_eq!(hub.page.pulse().started, 5);
    assert_eq!(link.unanswered(), 2);
}

#[test]
fn a_job_has_one_flow_from_the_first_call_to_its_end() {
    let (_hub, link) = pair();
    link.set_in_turn(true);
    begun(&link, &[1]);
    assert!(link.known_flow(1).is_none(), "nobody has asked for it");
    let flow = link.flow(1);
    assert!(Arc::ptr_eq(&flow, &link.flow(1)) && Arc::ptr_eq(&flow, &link.known_flow(1).unwrap()));
    with_python(|py| assert!(link.end(py, 1, &done(1))));
    assert!(link.known_flow(1).is_none());
    assert!(!Arc::ptr_eq(&flow, &link.flow(1)), "that of an ended job leads nowhere");
}

#[test]
fn a_child_that_was_forked_says_nothing() {
    let (mut hub, link) = pair();
    begun(&link, &[1]);
    link.forget();
    with_python(|py| {
        link.push(py, &done(9));
        assert!(!link.end(py, 1, &done(1)));
        assert!(!link.push_for(py, 1, &Action::Piece { serial: 1, bytes: b"" }));
        assert_eq!(link.ask(py, Question::Rooms, b"").unwrap(), None);
    });
    link.script_begins(1);
    link.flush().unwrap();
    assert!(hub.batches().is_empty());
    assert_eq!((hub.page.pulse().turn, link.unanswered()), (0, 1), "it is the parent that answers");
}

// What the hub sees.

#[test]
fn a_script_is_seen_and_what_it_prints_belongs_to_its_job_in_its_thread_alone() {
    let (hub, link) = pair();
    link.script_begins(7);
    assert_eq!((hub.page.pulse().turn, hub.page.pulse().running), (1, 7));
    assert_eq!(Link::running(), 7);
    assert_eq!(ended(thread::spawn(Link::running)), 0);
    link.script_ends();
    assert_eq!((hub.page.pulse().turn, hub.page.pulse().running), (2, 0));
    assert_eq!(Link::running(), 0);
}

#[test]
fn a_full_pool_does_not_hang_while_one_of_its_threads_waits_for_a_client() {
    let (hub, link) = pair();
    link.set_full_pool(Some(3));
    let running = link.wait_for_client(|| hub.page.pulse().running);
    assert_eq!((running, hub.page.pulse().running), (0, 3));
}

// Who reads.

#[test]
fn one_at_a_time_has_the_turn_to_read() {
    let (_hub, link) = pair();
    assert!(link.has_reader() && !link.take_turn(), "the loop has it at first");
    link.end_turn();
    assert!(link.take_turn() && !link.take_turn());
    let other = Arc::clone(&link);
    let waits = thread::spawn(move || other.await_turn());
    link.end_turn();
    ended(waits);
    assert!(link.has_reader());
}

#[test]
fn the_hub_s_end_is_known_once_it_was_read() {
    let (hub, link) = pair();
    assert_eq!(link.wait(Some(Duration::ZERO)).unwrap(), Wake::Timeout);
    hub.end();
    assert!(!link.is_ended());
    assert_eq!(link.wait(None).unwrap(), Wake::End);
    assert!(link.is_ended());
}

#[test]
fn the_loop_s_question_is_answered_past_other_orders_which_stay_in_order() {
    let (mut hub, link) = pair();
    hub.say(|out| {
        encode_lead(out);
        encode_answer(out, 1, b"[1]");
        encode_stop(out, Duration::ZERO, Duration::ZERO);
    });
    let answer = with_python(|py| link.ask(py, Question::Rooms, b"").unwrap());
    assert_eq!(answer.as_deref(), Some(&b"[1]"[..]));
    assert_eq!(hub.batches(), [["query 1"]]);
    let kinds = [link.peek_kind(), link.next_order(|kind, _| kind), link.next_order(|kind, _| kind)];
    let [lead, stop] = [3, 4];
    assert_eq!(kinds, [Some(lead), Some(lead), Some(stop)]);
    assert_eq!(link.peek_kind(), None);
}

#[test]
fn a_question_to_a_hub_that_is_gone_has_no_answer() {
    let (hub, link) = pair();
    hub.end();
    assert_eq!(with_python(|py| link.ask(py, Question::Rooms, b"").unwrap()), None);
}

#[test]
fn a_thread_that_asks_is_given_its_answer_by_whoever_reads() {
    let (mut hub, link) = pair();
    let other = Arc::clone(&link);
    let asks = thread::spawn(move || with_python(|py| other.ask(py, Question::Rooms, b"").unwrap()));
    assert_eq!(hub.next_batch(), ["query 1"]);
    link.give_answer(9, b"nobody asked this");
    link.give_answer(1, b"[1]");
    assert_eq!(ended(asks).as_deref(), Some(&b"[1]"[..]));
    assert!(link.has_reader(), "the turn to read is still the loop's");
}

#[test]
fn a_thread_that_asks_where_nobody_reads_reads_itself_and_gives_others_their_answers() {
    let (mut hub, link) = pair();
    // Another thread has asked before, and waits.
    lock(&link.out).last_query = 1;
    lock(&link.answers).insert(1, None);
    link.end_turn();
    hub.say(|out| {
        encode_answer(out, 1, b"[1]");
        encode_answer(out, 2, b"[2]");
    });
    let other = Arc::clone(&link);
    let asks = thread::spawn(move || with_python(|py| other.ask(py, Question::Rooms, b"").unwrap()));
    assert_eq!(ended(asks).as_deref(), Some(&b"[2]"[..]));
    assert_eq!(lock(&link.answers).get(&1), Some(&Some(b"[1]".to_vec())));
    assert!(!link.has_reader(), "it gives the turn back");
}
