use super::*;
use minijinja::context;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder with an app's templates, for as long as a test runs.
struct Site(PathBuf);

impl Site {
    fn new(files: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("kennel-templates-{}-{number}", std::process::id()));
        let site = Self(folder);
        fs::create_dir_all(site.0.join("templates")).unwrap();
        files.iter().for_each(|(name, text)| site.write(name, text));
        site
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join("templates").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn templates(&self, is_dev: bool) -> Templates {
        Templates::beside(&self.0.join("app.lua").to_string_lossy(), is_dev)
    }

    fn page(&self, name: &str, values: Value) -> String {
        self.templates(false).render(name, values, None).unwrap().body
    }

    /// What is wrong, with the place, without the way to the folder.
    fn problem(&self, name: &str) -> String {
        let problem = self.templates(false).render(name, context! {}, None).unwrap_err();
        problem.to_string().replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn pages_are_built_on_others_and_of_pieces() {
    let site = Site::new(&[
        ("base.html", "<title>{% block title %}-{% endblock %}</title>{% block body %}{% endblock %}"),
        ("parts/row.html", "<li>{{ item }}</li>"),
        ("forms.html", "{% macro field(name) %}<input name=\"{{ name }}\">{% endmacro %}"),
        (
            "page.html",
            "{% extends 'base.html' %}{% from 'forms.html' import field %}{% block title %}{{ title }}{% endblock %}\
             {% block body %}{% for item in items %}{% include 'parts/row.html' %}{% endfor %}{{ field('q') }}{% endblock %}",
        ),
    ]);
    let page = site.page("page.html", context! { title => "A & B", items => ["<1>", "2"] });
    assert_eq!(page, "<title>A &amp; B</title><li>&lt;1&gt;</li><li>2</li><input name=\"q\">");
}

#[test]
fn values_are_escaped_unless_the_file_cannot_be_html() {
    let text = "{{ x }}{{ x | safe }}";
    let names = ["a.html", "a.htm", "a.xml", "a.svg", "a", "a.html.j2", "a.jinja", "a.txt", "a.txt.j2"];
    let site = Site::new(&names.map(|name| (name, text)));
    for name in &names[..7] {
        assert_eq!(site.page(name, context! { x => "<b>" }), "&lt;b&gt;<b>", "{name}");
    }
    for name in &names[7..] {
        assert_eq!(site.page(name, context! { x => "<b>" }), "<b><b>", "{name}");
    }
    site.write("a.json", r#"{"x": {{ x }}}"#);
    assert_eq!(site.page("a.json", context! { x => "\"" }), r#"{"x": "\""}"#);
    let kind = |name| site.templates(false).render(name, context! {}, None).unwrap().content_type;
    assert_eq!((kind("a.html"), kind("a.txt")), ("text/html; charset=utf-8", "text/plain; charset=utf-8"));
    assert_eq!((kind("a.xml"), kind("a.json")), ("application/xml; charset=utf-8", "application/json"));
}

#[test]
fn what_jinja_has_is_there() {
    let site = Site::new(&[(
        "a.html",
        "{{ missing }}|{{ q | urlencode }}|{{ d | tojson }}|{% for k, v in d.items() %}{{ k }}={{ v }}{% endfor %}|\
         {{ 'a b'.upper() }}|{{ list | join(', ') }}|{{ missing | default('-') }}|{{ 7 // 2 }}|{{ list[0] }}",
    )]);
    let page = site.page("a.html", context! { q => "a b&c", d => context! { n => 1 }, list => ["x", "y"] });
    assert_eq!(page, "|a%20b%26c|{\"n\":1}|n=1|A B|x, y|-|3|x");
}

#[test]
fn an_error_has_the_file_and_the_line() {
    let site = Site::new(&[
        ("undefined.html", "one\n{{ user.name.first }}\n"),
        ("syntax.html", "one\ntwo\n{% if %}\n"),
        ("filter.html", "{{ 1 | nosuch }}"),
        ("outer.html", "a\nb\n{% include 'undefined.html' %}"),
        ("child.html", "{% extends 'nowhere.html' %}"),
        ("token.html", "{{ csrf_field() }}"),
        ("who.html", "\n{{ session.user }}"),
    ]);
    let problem = site.problem("undefined.html");
    assert!(problem.starts_with("templates/undefined.html:2: "), "{problem}");
    assert!(site.problem("syntax.html").starts_with("templates/syntax.html:3: syntax error: "));
    assert!(site.problem("filter.html").contains("templates/filter.html:1: unknown filter"));
    let problem = site.problem("outer.html");
    assert!(problem.starts_with("templates/undefined.html:2: "), "{problem}");
    assert!(problem.ends_with("(used by templates/outer.html:3)"), "{problem}");
    assert_eq!(
        site.problem("child.html"),
        "templates/child.html:1: there is no template `nowhere.html` in templates"
            .replace("in templates", &format!("in {}", site.0.join("templates").display()))
            .replace(&format!("{}/", site.0.display()), "")
    );
    assert!(site.problem("token.html").contains("csrf_field() needs the request"));
    assert!(site.problem("who.html").starts_with("templates/who.html:2: session needs the request"));
    let problem = site.templates(true).render("undefined.html", context! {}, None).unwrap_err();
    assert!(problem.message.ends_with("\n    2 | {{ user.name.first }}"), "{problem}");
    assert_eq!(problem.line, Some(2));
}

#[test]
fn no_name_leads_out_of_the_folder() {
    let site = Site::new(&[("in.html", "inside"), ("sub/in.html", "{% include '../secret.html' %}")]);
    fs::write(site.0.join("secret.html"), "outside").unwrap();
    std::os::unix::fs::symlink(site.0.join("secret.html"), site.0.join("templates/link.html")).unwrap();
    std::os::unix::fs::symlink(&site.0, site.0.join("templates/up")).unwrap();
    std::os::unix::fs::symlink("in.html", site.0.join("templates/fine.html")).unwrap();
    let long = "x".repeat(5000);
    let absolute = site.0.join("secret.html").display().to_string();
    for name in [
        "../secret.html",
        "sub/../../secret.html",
        "./in.html",
        "/etc/passwd",
        &absolute,
        "link.html",
        "up/secret.html",
        "in.html\0",
        "in.html/",
        "",
        ".",
        "..",
        "sub",
        "sub\\in.html",
        &long,
        "a/../in.html",
        "//in.html",
        "nowhere/x.html",
    ] {
        let problem = site.templates(false).render(name, context! {}, None).unwrap_err().to_string();
        assert!(!problem.contains("outside") && !problem.contains('\0'), "{name:?}: {problem}");
    }
    assert!(site.problem("sub/in.html").contains("is no name of a template"));
    assert_eq!(site.page("fine.html", context! {}), "inside", "a link within is fine");
}

#[test]
fn a_page_that_never_ends_ends() {
    let nested =
        "{% for a in range(9999) %}{% for b in range(9999) %}{% set x = b %}{% endfor %}{% endfor %}";
    let wide = "{% set x = 'x' * 100000 %}{% for a in range(99999) %}{{ x }}{% endfor %}";
    let site = Site::new(&[
        ("loops.html", nested),
        ("wide.html", wide),
        ("self.html", "{% include 'self.html' %}"),
        ("macro.html", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
        ("extends.html", "{% extends 'extends.html' %}"),
    ]);
    assert!(site.problem("loops.html").contains("runs for too long"));
    assert!(site.problem("wide.html").contains("at most 67108864 bytes"), "{}", site.problem("wide.html"));
    for name in ["self.html", "macro.html", "extends.html"] {
        assert!(site.templates(false).render(name, context! {}, None).is_err(), "{name}");
    }
}

#[test]
fn under_dev_a_template_is_read_anew() {
    let site = Site::new(&[("a.html", "one")]);
    let (dev, run) = (site.templates(true), site.templates(false));
    let body = |templates: &Templates| templates.render("a.html", context! {}, None).unwrap().body;
    assert_eq!((body(&dev), body(&run)), ("one".into(), "one".into()));
    site.write("a.html", "two");
    assert_eq!((body(&dev), body(&run)), ("two".into(), "one".into()));
}

#[test]
fn a_page_knows_its_request() {
    struct Fake;
    impl Page for Fake {
        fn field(&self, name: &str) -> Option<Value> {
            (name == "path").then(|| Value::from("/here"))
        }
        fn named(&self, view: &str, name: &str) -> Option<Value> {
            (view == "args" && name == "q").then(|| Value::from("<q>"))
        }
        fn session(&self) -> Result<Value, String> {
            Ok(context! { user => "ada" })
        }
        fn csrf_token(&self) -> Result<String, String> {
            Ok("token".into())
        }
    }
    let site = Site::new(&[(
        "a.html",
        "{{ request.path }} {{ request.args.q }} {{ request.args.other }} {{ session.user }} {{ session.other }} \
         {{ session | length }} {{ csrf_token() }} {{ csrf_field() }}",
    )]);
    let made = site.templates(false).render("a.html", context! {}, Some(Rc::new(Fake))).unwrap();
    let field = r#"<input type="hidden" name="csrf_token" value="token">"#;
    assert_eq!(made.body, format!("/here &lt;q&gt;  ada  1 token {field}"));
    let shadowed = site.templates(false).render("a.html", context! { request => 1, session => 2 }, None);
    assert!(shadowed.is_err(), "values of the script's win");
}
