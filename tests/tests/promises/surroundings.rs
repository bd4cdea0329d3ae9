use serde_json::{Value, json};
use tests::in_each_language;
use tests::language::{Language, Scripts};

in_each_language!(modules_beside_the_script_are_found);
fn modules_beside_the_script_are_found(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"
        local one, two = require "one", require "lib.two"
        local three = require "three"
        app:get("/", function() return { one, two.name, three } end)
        "#,
            python: r#"
        import one, three
        from lib import two
        @app.get("/")
        def modules(req): return [one.WORD, two.WORD, three.WORD]
        "#,
        })
        .file("one.lua", "return 'one'")
        .file("one.py", "WORD = 'one'")
        .file("lib/two.lua", "return { name = require('one') .. '+two' }")
        .file("lib/two.py", "import one\nWORD = one.WORD + '+two'")
        .file("three/init.lua", "return 'three'")
        .file("three/__init__.py", "WORD = 'three'")
        .behind_warm()
        .start();
    assert_eq!(site.get("/").json(), json!(["one", "one+two", "three"]));
}

in_each_language!(an_app_sees_its_own_part_of_kennel_toml);
fn an_app_sees_its_own_part_of_kennel_toml(language: Language) {
    let toml = r#"
        [[app]]
        source = "app.LANGUAGE"
        workers = 1
        [app.config]
        greeting = "hi"
        [app.config.nested]
        list = [1, 2.5, true]
    "#;
    let site = language
        .plan(Scripts {
            lua: r#"app:get("/", function() return kennel.config end)"#,
            python: r#"@app.get("/")
def config(req): return kennel.config"#,
        })
        .config(&toml.replace("LANGUAGE", language.pick("lua", "py")))
        .configured_apps()
        .behind_warm()
        .start();
    assert_eq!(site.get("/").json(), json!({ "greeting": "hi", "nested": { "list": [1, 2.5, true] } }));
}

in_each_language!(an_app_named_on_the_command_line_has_its_settings_too_and_none_are_an_empty_table);
fn an_app_named_on_the_command_line_has_its_settings_too_and_none_are_an_empty_table(language: Language) {
    let toml = format!("[[app]]\nsource = \"{}\"\n[app.config]\na = 1\n", language.app());
    let body = Scripts {
        lua: r#"app:get("/", function() return { config = kennel.config, worker = kennel.worker } end)"#,
        python: r#"@app.get("/")
async def config(req): return {"config": kennel.config, "worker": kennel.worker}"#,
    };
    let with = language.plan(body).config(&toml).behind_warm().workers(1).start();
    assert_eq!(with.get("/").json(), json!({ "config": { "a": 1 }, "worker": 1 }));
    let without = language.plan(body).behind_warm().workers(1).start();
    assert_eq!(without.get("/").json(), json!({ "config": {}, "worker": 1 }));
}

in_each_language!(print_and_log_arrive_in_the_log_with_level_and_fields);
fn print_and_log_arrive_in_the_log_with_level_and_fields(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"
        app:get("/", function()
          print("printed", 7, nil, true)
          kennel.log.debug("too quiet")
          kennel.log.info("informed", { user = "ann", n = 3 })
          kennel.log.warn("warned")
          kennel.log.error("two\nlines")
          return "x"
        end)
        "#,
            python: r#"
        @app.get("/")
        def talk(req):
            print("printed", 7, None, True, sep="\t")
            kennel.log.debug("too quiet")
            kennel.log.info("informed", {"user": "ann", "n": 3})
            kennel.log.warn("warned")
            kennel.log.error("two\nlines")
            return "x"
        "#,
        })
        .behind_warm()
        .start();
    site.get("/");
    assert!(
        site.log().expect(language.pick("printed\t7\tnil\ttrue", "printed\t7\tNone\tTrue")).contains("INFO")
    );
    let line = site.log().expect("informed");
    assert!(line.contains("INFO") && line.contains("ann") && line.contains('3'), "{line}");
    assert!(site.log().expect("warned").contains("WARN"));
    assert!(site.log().expect("two").contains("ERROR"));
    assert_eq!(site.log().count("too quiet"), 0);
}

in_each_language!(the_log_is_json_when_asked_for_and_debug_can_be_seen);
fn the_log_is_json_when_asked_for_and_debug_can_be_seen(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"app:get("/", function() kennel.log.debug("quiet \"words\"", { a = 1 }) return "x" end)"#,
            python: r#"@app.get("/")
async def quiet(req):
    kennel.log.debug('quiet "words"', {"a": 1})
    return "x""#,
        })
        .argument("--log-format=json")
        .argument("--log-level=debug")
        .behind_warm()
        .start();
    site.get("/");
    let line = site.log().expect("quiet");
    let line: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
    assert_eq!(line["level"], "DEBUG");
    assert_eq!(line["message"], "quiet \"words\"");
    for line in site.log().text().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "no JSON: {line}");
    }
}

in_each_language!(a_line_feed_in_a_logged_text_cannot_forge_a_line_of_its_own);
fn a_line_feed_in_a_logged_text_cannot_forge_a_line_of_its_own(language: Language) {
    let site = language.site(Scripts {
        lua: r#"app:get("/", function(req) kennel.log.info("user " .. req.args.name) return "x" end)"#,
        python: r#"@app.get("/")
def talk(req):
    kennel.log.info("user " + req.args["name"])
    return "x""#,
    });
    site.get("/?name=x%0A2026-01-01T00:00:00Z%20ERROR%20forged");
    site.log().expect("user x");
    site.log().expect("forged");
    assert_eq!(site.log().text().lines().filter(|line| line.starts_with("2026-01-01T00:00:00Z")).count(), 0);
}
