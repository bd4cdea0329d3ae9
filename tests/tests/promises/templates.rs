//! Templates: `kennel.render` makes pages of the files beside the app, and of nothing else.

use tests::client::{get, request};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::site::{Plan, Site};
use tests::wait;

const BASE: &str =
    "<!doctype html><title>{% block title %}site{% endblock %}</title>{% block body %}{% endblock %}\n";
const LIST: &str = "{% extends \"base.html\" %}{% from \"macros.html\" import row %}
{%- block title %}{{ title }}{% endblock %}
{%- block body %}<ul>{% for item in items %}{{ row(item) }}{% else %}none{% endfor %}</ul>{{ missing }}{% endblock %}";

fn with_templates(plan: Plan) -> Plan {
    plan.file("templates/base.html", BASE)
        .file("templates/list.html", LIST)
        .file(
            "templates/macros.html",
            "{% macro row(item) %}<li>{{ item.name }}: {{ item.n }}</li>{% endmacro %}",
        )
        .file("templates/mail.txt", "Dear {{ name }}")
        .file("templates/broken.html", "one\ntwo\n{{ user.name.first }}\n")
        .file("templates/user.html", "{% include \"broken.html\" %}")
        .file("secret.html", "nobody's")
}

const PAGES: Scripts<'_> = Scripts {
    lua: r#"
    app:get("/list", function(req)
      return kennel.render("list.html", { title = "A & B", items = { { name = "<one>", n = 1 }, { name = "two", n = 2.5 } } })
    end)
    app:get("/empty", function(req) return kennel.render("list.html") end)
    app:get("/options", function(req)
      return kennel.render("mail.txt", { name = "<Ada>" }, { status = 202, headers = { ["x-a"] = "b" }, cookies = { c = "1" } })
    end)
    app:get("/typed", function(req)
      return kennel.render("mail.txt", { name = "x" }, { headers = { ["Content-Type"] = "text/x-mine" } })
    end)
    app:get("/broken", function(req) local page = kennel.render("user.html") return page end)
    app:get("/name", function(req) return kennel.render(req.args.n, {}) end)
    app:get("/function", function(req) local page = kennel.render("mail.txt", { a = { b = print } }) return page end)
    "#,
    python: r#"
    @app.get("/list")
    def a_list(req):
        return kennel.render("list.html", {"title": "A & B", "items": [{"name": "<one>", "n": 1}, {"name": "two", "n": 2.5}]})
    @app.get("/empty")
    async def empty(req): return kennel.render("list.html")
    @app.get("/options")
    def options(req):
        return kennel.render("mail.txt", {"name": "<Ada>"}, status=202, headers={"x-a": "b"}, cookies={"c": "1"})
    @app.get("/typed")
    def typed(req): return kennel.render("mail.txt", {"name": "x"}, headers={"Content-Type": "text/x-mine"})
    @app.get("/broken")
    def broken(req): return kennel.render("user.html")
    @app.get("/name")
    async def name(req): return kennel.render(req.args.get("n"), {})
    @app.get("/function")
    def function(req): return kennel.render(7)
    "#,
};

in_each_language!(pages_are_made_of_templates_beside_the_app);
fn pages_are_made_of_templates_beside_the_app(language: Language) {
    let site = with_templates(language.plan(PAGES)).behind_warm().start();
    let page = site.get("/list");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let list = "<ul><li>&lt;one&gt;: 1</li><li>two: 2.5</li></ul>";
    assert_eq!(page.text(), format!("<!doctype html><title>A &amp; B</title>{list}"));
    assert!(site.get("/empty").text().ends_with("<title></title><ul>none</ul>"));
    let mail = site.get("/options");
    assert_eq!((mail.status, mail.text().as_str(), mail.header("x-a")), (202, "Dear <Ada>", Some("b")));
    assert_eq!(mail.headers_named("content-type"), ["text/plain; charset=utf-8"]);
    assert!(mail.header("set-cookie").is_some());
    assert_eq!(site.get("/typed").headers_named("content-type"), ["text/x-mine"]);
}

in_each_language!(an_error_in_a_template_has_its_file_and_line);
fn an_error_in_a_template_has_its_file_and_line(language: Language) {
    let site = with_templates(language.plan(PAGES)).behind_warm().start();
    let page = site.get("/broken");
    assert_eq!((page.status, page.text().as_str()), (500, "500 Internal Server Error\n"));
    site.log().expect("GET /broken failed: templates/broken.html:3: ");
    site.log().expect("(used by templates/user.html:1)");
    site.log().expect(&language.place(13, 14));
    assert_eq!(site.get("/function").status, 500);
    site.log().expect(language.pick("a template has no use for a function at `a.b`", "not int"));
}

in_each_language!(no_name_of_a_template_leads_out_of_their_folder);
fn no_name_of_a_template_leads_out_of_their_folder(language: Language) {
    let plan = with_templates(language.plan(PAGES));
    let folder = plan.folder().path().to_owned();
    std::os::unix::fs::symlink(folder.join("secret.html"), folder.join("templates/out.html"))
        .expect("a link");
    let site = plan.behind_warm().start();
    let absolute = folder.join("secret.html").display().to_string();
    for name in [
        "../secret.html",
        "%2e%2e/secret.html",
        &absolute,
        "out.html",
        "/etc/passwd",
        "list.html%00",
        "",
        ".",
        "nothing.html",
    ] {
        let page = site.get(&format!("/name?n={name}"));
        assert_eq!((page.status, page.text().as_str()), (500, "500 Internal Server Error\n"), "{name}");
    }
    assert_eq!(site.get("/name?n=mail.txt").text(), "Dear ");
    site.log().expect("there is no template `nothing.html` in templates");
}

in_each_language!(under_dev_templates_are_read_anew_and_errors_shown_with_their_line);
fn under_dev_templates_are_read_anew_and_errors_shown_with_their_line(language: Language) {
    let site = with_templates(language.plan(PAGES)).dev().behind_warm().start();
    assert_eq!(site.get("/name?n=mail.txt").text(), "Dear ");
    let page = site.get("/broken").text();
    assert!(
        page.contains("templates/broken.html, line 3") && page.contains("{{ user.name.first }}"),
        "{page}"
    );
    site.log().expect("3 | {{ user.name.first }}");
    site.folder().write("templates/mail.txt", "Hello {{ name }}");
    wait::until("the new template is served", || site.get("/name?n=mail.txt").text() == "Hello ");
}

in_each_language!(a_form_of_a_template_has_its_token_and_the_page_its_visitor);
fn a_form_of_a_template_has_its_token_and_the_page_its_visitor(language: Language) {
    let scripts = Scripts {
        lua: r#"
        app:get("/form", function(req)
          req.session.user = "<ada>"
          return kennel.render("form.html", {}, { request = req })
        end)
        app:get("/plain", function(req) return kennel.render("plain.html", {}, { request = req }) end)
        app:get("/without", function(req) local page = kennel.render("form.html") return page end)
        app:post("/form", function(req) return "taken" end)
        "#,
        python: r#"
        @app.get("/form")
        def form(req):
            req.session["user"] = "<ada>"
            return kennel.render("form.html", request=req)
        @app.get("/plain")
        async def plain(req): return kennel.render("plain.html", {}, request=req)
        @app.get("/without")
        def without(req): return kennel.render("form.html")
        @app.post("/form")
        def post(req): return "taken"
        "#,
    };
    let script = language.script_of(scripts).replace(
        language.pick("kennel.app()", "kennel.App()"),
        language.pick("kennel.app({ csrf = true })", "kennel.App(csrf=True)"),
    );
    let site = language
        .plan(scripts)
        .file(language.app(), &script)
        .file(
            "templates/form.html",
            "{{ session.user }} {{ request.path }} {{ request.args.q }} {{ csrf_field() }}",
        )
        .file(
            "templates/plain.html",
            "{{ request.headers['x-a'] }} {{ request.method }} {{ request.nothing }}",
        )
        .behind_warm()
        .start();
    let page = site.get("/form?q=%3Cq%3E");
    let text = page.text();
    let start = "&lt;ada&gt; /form &lt;q&gt; <input type=\"hidden\" name=\"csrf_token\" value=\"";
    let token = text.strip_prefix(start).and_then(|rest| rest.strip_suffix("\">")).expect(&text);
    let line = page.header("set-cookie").expect("a session");
    let cookie = line.split(';').next().expect("a cookie");
    let post = |token: &str| {
        let headers = [("Cookie", cookie), ("Content-Type", "application/x-www-form-urlencoded")];
        site.send(request("POST", "/form", &headers, format!("csrf_token={token}").as_bytes())).status
    };
    assert_eq!((post(token), post("x")), (200, 403));
    let plain = site.send(request("GET", "/plain", &[("X-A", "b")], b""));
    assert_eq!(
        (plain.text().trim_end(), plain.header("vary")),
        ("b GET", None),
        "nobody asked for the session"
    );
    assert_eq!(site.send(get("/without")).status, 500);
    site.log().expect("templates/form.html:1: ");
    site.log().expect("session needs the request");
}

#[test]
fn objects_of_python_are_asked_when_the_template_asks() {
    let site = Site::python(
        r#"
        import datetime
        class Money:
            def __init__(self, n): self.n = n; self._secret = "hush"
            def in_euros(self, sign="€"): return f"{self.n} {sign}"
            @property
            def wrong(self): raise RuntimeError("not today")
            def __str__(self): return f"<{self.n}>"
        class Icon:
            def __html__(self): return "<i></i>"
        @app.get("/")
        def index(req):
            values = {"m": Money(3), "icon": Icon(), "day": datetime.date(2026, 11, 22), "none": None, "gen": (n for n in (1, 2)),
                      "pair": (1, "a"), "big": 2**70, "d": {"k": True}}
            return kennel.render("values.html", values)
        @app.get("/wrong")
        def wrong(req): return kennel.render("wrong.html", {"m": Money(3)})
        @app.get("/cycle")
        def cycle(req):
            a = []; a.append(a)
            return kennel.render("wrong.html", {"m": a})
        "#,
    )
    .file(
        "templates/values.html",
        "{{ m.n }} {{ m.in_euros() }} {{ m.in_euros(sign='$') }} {{ m }} {{ icon }} {{ day }} {{ day.year }} {{ none }} \
         {{ m._secret }} {{ m.nothing }} {% for n in gen %}{{ n }}{% endfor %} {{ pair[1] }} {{ big }} \
         {{ d.items() | list | length }}{% for k, v in d.items() %}{{ k }}{{ v }}{% endfor %}",
    )
    .file("templates/wrong.html", "\n{{ m.wrong }}")
    .behind_warm()
    .start();
    let expected = "3 3 € 3 $ &lt;3&gt; <i></i> 2026-11-22 2026 None   12 a 1180591620717411303424 1kTrue";
    assert_eq!(site.get("/").text(), expected);
    assert_eq!(site.get("/wrong").status, 500);
    site.log().expect("templates/wrong.html:2: ");
    site.log().expect("RuntimeError: not today");
    assert_eq!(site.get("/cycle").status, 500);
    site.log().expect("perhaps a cycle");
}
