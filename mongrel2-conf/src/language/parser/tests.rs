use super::*;

fn read(text: &str) -> (Tree, Vec<Diagnostic>) {
    let mut found = Vec::new();
    let tree = parse(0, text, &mut found);
    (tree, found)
}

/// Names and the bytes at which they are.
fn errors(text: &str) -> Vec<(&'static str, u32)> {
    read(text).1.iter().map(|one| (one.name, one.span.start)).collect()
}

fn sound(text: &str) -> Tree {
    let (tree, found) = read(text);
    assert_eq!(found, [], "{text}");
    tree
}

#[test]
fn commas_may_be_left_out_or_stand_before_the_first_item() {
    sound("a = [1 2, 'x' b Cc(x=1 y=2, z=[])] d = {'k': 1 'l': 2, 'm': 3}");
    sound("a = [, 1] b = Cc(, x=1) c = {, 'k': 1}");
    assert_eq!(errors("a = [1,]"), [("trailing-comma", 6)]);
    assert_eq!(errors("a = {'k': 1,} b = Cc(x=1,)"), [("trailing-comma", 11), ("trailing-comma", 24)]);
    assert_eq!(errors("a = [1,,2]"), [("syntax", 7)]);
    assert_eq!(errors("a = 1, b = 2"), [("syntax", 5)]);
}

#[test]
fn a_tree_holds_texts_as_they_are_written() {
    let tree = sound(r#"a = 'x\'y' b = 007 include "other.conf""#);
    let Statement::Assignment(a) = &tree.statements[0] else { panic!() };
    assert_eq!(a.value.kind, ExprKind::Text(r"x\'y".into()));
    let Statement::Assignment(b) = &tree.statements[1] else { panic!() };
    assert_eq!(b.value.kind, ExprKind::Number("007".into()));
    assert!(matches!(&tree.statements[2], Statement::Include(path) if path.text == "other.conf"));
}

#[test]
fn include_is_a_variable_too() {
    let tree = sound("include = 1 b = include");
    assert_eq!(tree.statements.len(), 2);
}

#[test]
fn every_mistake_of_a_file_is_found() {
    let text = "a : 1\nb = Cc(x 1, y: 2, 'z': 3, u=4)\nc = {k: 1, 'l'=2, 3}\nd = [=]\ne f\ng = dir(a=1)\n";
    let (tree, found) = read(text);
    assert_eq!(found.len(), 10, "{found:#?}");
    assert_eq!(tree.statements.len(), 5);
}

#[test]
fn a_bracket_that_is_not_closed_ends_at_the_next_statement() {
    let text = "a = Server(\n  x=[1 2\nb = 3\nc = [d]\n";
    let (tree, found) = read(text);
    assert_eq!(tree.statements.len(), 3);
    let names: Vec<_> = found.iter().map(|one| (one.name, one.span.start)).collect();
    assert_eq!(names, [("unclosed-bracket", 16), ("unclosed-bracket", 10)]);
    // The margin means nothing as long as the brackets fit.
    assert_eq!(sound("a = Cc(\nx=1\ny=2\n)").statements.len(), 1);
}

#[test]
fn a_wrong_bracket_is_shown_with_the_one_it_cannot_close() {
    assert_eq!(errors("a = [Cc(x=1]\nb = 2"), [("unclosed-bracket", 7)]);
    assert_eq!(errors("a = [1)\nb = 2"), [("stray-bracket", 6)]);
    assert_eq!(errors("a = [1})]\nb = 2"), [("stray-bracket", 6), ("stray-bracket", 7)]);
    assert_eq!(errors("a = 1)\nb = 2"), [("stray-bracket", 5)]);
}

#[test]
fn classes_are_no_names() {
    assert_eq!(errors("Main = 1"), [("class-as-name", 0)]);
    assert_eq!(errors("a = Cc(Name=1)"), [("class-as-name", 7)]);
    assert_eq!(errors("a = Main"), [("syntax", 4)]);
}

#[test]
fn deep_brackets_are_an_error_and_no_overflow() {
    let deep = |depth: usize| format!("a = {}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(errors(&deep(MAX_DEPTH)), []);
    assert_eq!(errors(&deep(MAX_DEPTH + 1)), [("too-deep", 104)]);
    assert_eq!(errors(&deep(1_000_000)), [("too-deep", 104)]);
    assert!(!errors(&"a=[".repeat(10_000)).is_empty());
    assert!(!errors(&"a=Cc(".repeat(10_000)).is_empty());
}
