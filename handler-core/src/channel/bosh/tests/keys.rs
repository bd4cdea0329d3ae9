//! Section 15.

use super::*;
use sha1::{Digest, Sha1};

fn hex(text: &str) -> String {
    Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The chain of a seed: what is given first, and what is given last at the end.
fn chain(seed: &str, count: usize) -> Vec<String> {
    let mut keys: Vec<_> = std::iter::successors(Some(hex(seed)), |key| Some(hex(key))).take(count).collect();
    keys.reverse();
    keys
}

/// A session that was opened with the first key of this chain.
fn talk(chain: &[String]) -> Talk {
    Talk::open(&format!("hold='1' wait='60' ver='1.11' newkey='{}'", chain[0]))
}

fn key(key: &str) -> String {
    format!("key='{key}'")
}

#[test]
fn section_15_3_keys_are_hashes_of_each_other_by_sha_1_in_hexadecimal() {
    // The specification's own chain, from its examples.
    let (first, second) =
        ("bfb06a6f113cd6fd3838ab9d300fdb4fe3da2f7d", "6f825e81f4532b2c5fa2d12457d8a1f22e8f838e");
    assert_eq!(
        (hex(first).as_str(), hex(second).as_str()),
        ("ca393b51b682f61f98e7877d61146407f3d0a770", first)
    );
    let mut talk = Talk::open("hold='1' wait='60' newkey='ca393b51b682f61f98e7877d61146407f3d0a770'");
    talk.say(101, &key(first), "<a/>");
    let another = format!("{} newkey='113f58a37245ec9637266cf2fb6e48bfeaf7964e'", key(second));
    talk.say(102, &another, "<b/>");
    assert_eq!(talk.heard, ["<a/>", "<b/>"]);
}

#[test]
fn section_15_3_comparisons_should_not_depend_on_case() {
    let keys = chain("seed", 3);
    let mut talk = Talk::open(&format!("hold='1' wait='60' newkey='{}'", keys[0].to_uppercase()));
    talk.say(101, &key(&keys[1]), "<a/>");
    assert_eq!(talk.heard, ["<a/>"]);
}

#[test]
fn section_15_4_a_first_key_that_is_no_hash_is_a_bad_request() {
    let refused = Talk::answered(&Settings::default(), "newkey='xyz'").err();
    assert_eq!(refused, Some(Condition::BadRequest));
}

#[test]
fn section_15_4_each_key_must_be_the_next_of_the_chain() {
    let keys = chain("seed", 10);
    let mut talk = talk(&keys);
    for (rid, own) in (101..).zip(&keys[1..]) {
        talk.say(rid, &key(own), "<a/>");
    }
    assert_eq!(talk.heard.len(), 9);
    assert_eq!(talk.ended, None);
}

#[test]
fn section_15_4_with_a_wrong_key_the_element_must_not_be_processed_and_the_session_must_end() {
    let keys = chain("seed", 5);
    for wrong in [key(&keys[2]), key(&keys[0]), key("x"), String::new()] {
        let mut talk = talk(&keys);
        talk.say(101, &wrong, "<a/>");
        assert!(talk.heard.is_empty());
        assert_eq!(talk.answers(), of([(101, NOT_FOUND)]), "{wrong}");
        assert_eq!(talk.ended, Some(End::Error(Condition::ItemNotFound)));
    }
}

#[test]
fn section_15_4_keys_are_tried_in_the_order_of_the_rids() {
    let keys = chain("seed", 5);
    let mut talk = Talk::open(&format!("hold='2' wait='60' newkey='{}'", keys[0]));
    talk.say(102, &key(&keys[2]), "<b/>");
    talk.say(101, &key(&keys[1]), "<a/>");
    assert_eq!(talk.heard, ["<a/>", "<b/>"]);
    talk.send("<more/>");
    talk.say(104, &key(&keys[2]), "<d/>");
    talk.say(103, &key(&keys[3]), "<c/>");
    assert_eq!(talk.heard, ["<a/>", "<b/>", "<c/>"]);
    assert_eq!(talk.ended, Some(End::Error(Condition::ItemNotFound)));
}

#[test]
fn section_15_4_who_repeats_a_request_without_its_key_gets_no_answer() {
    let keys = chain("seed", 5);
    for wrong in [key(&keys[2]), String::new()] {
        let mut talk = talk(&keys);
        talk.say(101, &key(&keys[1]), "");
        talk.send("<secret/>");
        talk.answers();
        talk.say_by(7, 101, &wrong, "");
        assert_eq!(talk.answers(), of([(7, NOT_FOUND)]), "{wrong}");
    }
    let mut talk = talk(&keys);
    talk.say(101, &key(&keys[1]), "");
    talk.send("<secret/>");
    talk.answers();
    talk.say_by(7, 101, &key(&keys[1]), "");
    assert_eq!(talk.answers(), of([(7, "<body><secret/></body>")]));
}

#[test]
fn section_15_5_a_client_must_switch_to_another_chain_with_the_last_key_of_the_old() {
    let (old, new) = (chain("seed", 2), chain("other", 3));
    let mut talk = talk(&old);
    talk.say(101, &format!("{} newkey='{}'", key(&old[1]), new[0]), "<a/>");
    talk.say(102, &key(&new[1]), "<b/>");
    talk.say(103, &key(&new[2]), "<c/>");
    assert_eq!(talk.heard, ["<a/>", "<b/>", "<c/>"]);
}

#[test]
fn a_chain_may_begin_later_and_a_key_without_one_is_ignored() {
    let keys = chain("seed", 3);
    let mut talk = Talk::new();
    talk.say(101, "key='x'", "<a/>");
    talk.say(102, &format!("newkey='{}'", keys[0]), "<b/>");
    talk.say(103, &key(&keys[1]), "<c/>");
    assert_eq!(talk.heard, ["<a/>", "<b/>", "<c/>"]);
    talk.say(104, "", "<d/>");
    assert_eq!(talk.ended, Some(End::Error(Condition::ItemNotFound)));
}
