use serde_json::json;
use tests::client::request;
use tests::in_each_language;
use tests::language::{Language, Scripts};

in_each_language!(every_method_has_its_route);
fn every_method_has_its_route(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        for _, method in ipairs { "get", "post", "put", "patch", "delete" } do
          app[method](app, "/m", function(req) return method .. " " .. req.method end)
        end
        app:options("/m", function() return "my options" end)
        app:route("PROPFIND", "/p", function(req) return req.method end)
        app:route({ "lock", "UNLOCK" }, "/p", function(req) return req.method end)
        "#,
        python: r#"
        for method in ("get", "post", "put", "patch", "delete"):
            def answer(req, method=method): return f"{method} {req.method}"
            getattr(app, method)("/m")(answer)
        @app.options("/m")
        async def options(req): return "my options"
        @app.route("PROPFIND", "/p")
        def find(req): return req.method
        @app.route(["lock", "UNLOCK"], "/p")
        async def lock(req): return req.method
        "#,
    });
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let text = site.send(request(method, "/m", &[], b"")).text();
        assert_eq!(text, format!("{} {method}", method.to_lowercase()));
    }
    assert_eq!(site.send(request("OPTIONS", "/m", &[], b"")).text(), "my options");
    for method in ["PROPFIND", "LOCK", "UNLOCK"] {
        assert_eq!(site.send(request(method, "/p", &[], b"")).text(), method);
    }
}

in_each_language!(head_is_answered_from_get_without_a_body);
fn head_is_answered_from_get_without_a_body(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:get("/", function(req) return kennel.response(req.method, { headers = { ["x-a"] = "b" } }) end)
        app:post("/post", function() return "x" end)
        "#,
        python: r#"
        @app.get("/")
        def method(req): return kennel.response(req.method, headers={"x-a": "b"})
        @app.post("/post")
        def post(req): return "x"
        "#,
    });
    let mut client = site.client();
    client.send(request("HEAD", "/", &[], b""));
    let response = client.read_head();
    assert_eq!((response.status, response.header("content-length")), (200, Some("4")));
    assert_eq!(response.header("x-a"), Some("b"));
    // No byte of a body is left behind.
    client.send(request("HEAD", "/nowhere", &[], b""));
    assert_eq!(client.read_head().status, 404);
    client.send(request("HEAD", "/post", &[], b""));
    assert_eq!(client.read_head().status, 405);
    assert_eq!(client.get("/").text(), "GET");
}

in_each_language!(options_and_405_come_from_the_route_table);
fn options_and_405_come_from_the_route_table(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:get("/x", function() return "x" end)
        app:post("/x", function() return "x" end)
        app:delete("/y", function() return "y" end)
        "#,
        python: r#"
        @app.get("/x")
        def x(req): return "x"
        @app.post("/x")
        async def post_x(req): return "x"
        @app.delete("/y")
        def y(req): return "y"
        "#,
    });
    let response = site.send(request("OPTIONS", "/x", &[], b""));
    assert_eq!((response.status, response.header("allow")), (204, Some("GET, HEAD, OPTIONS, POST")));
    let response = site.send(request("PUT", "/x", &[], b"body"));
    assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD, OPTIONS, POST")));
    assert!(response.text().contains("405"));
    let response = site.get("/y");
    assert_eq!((response.status, response.header("allow")), (405, Some("DELETE, OPTIONS")));
    let response = site.get("/z");
    assert_eq!((response.status, response.header("content-type")), (404, Some("text/plain; charset=utf-8")));
    assert!(response.text().contains("404"));
    assert_eq!(site.send(request("OPTIONS", "/z", &[], b"")).status, 404);
}

in_each_language!(path_values_are_decoded_and_in_path_order);
fn path_values_are_decoded_and_in_path_order(language: Language) {
    let site = language.site(
        Scripts { lua: r#"
        app:get("/u/{id}", function(req, id) return { id = id, params = req.params } end)
        app:get("/u/me", function() return "me" end)
        app:get("/f/{*rest}", function(req, rest) return { rest = rest } end)
        app:get("/two/{first}/x/{second}", function(req, a, b) return { a, b, req.params.first, req.params.second } end)
        app:get("/caf\195\169", function() return "literal" end)
        "#, python: r#"
        @app.get("/u/{id}")
        def user(req, id): return {"id": id, "params": req.params}
        @app.get("/u/me")
        def me(req): return "me"
        @app.get("/f/{*rest}")
        async def file(req, rest): return {"rest": rest}
        @app.get("/two/{first}/x/{second}")
        async def two(req, second, first): return [first, second, req.params["first"], req.params["second"]]
        @app.get("/café")
        def literal(req): return "literal"
        "# },
    );
    assert_eq!(site.get("/u/7").json(), json!({ "id": "7", "params": { "id": "7" } }));
    assert_eq!(site.get("/u/a%20b%2Fc%C3%A9+").json()["id"], "a b/cé+", "a plus sign in a path is one");
    assert_eq!(site.get("/u/me").text(), "me");
    assert_eq!(site.get("/u/%6de").text(), "me", "an escape that is not needed does not hide a path");
    assert_eq!(site.get("/f/a/b%20c/d").json(), json!({ "rest": "a/b c/d" }));
    assert_eq!(site.get("/two/1/x/2").json(), json!(["1", "2", "1", "2"]));
    assert_eq!(site.get("/caf%c3%a9").text(), "literal");
    for path in ["/u/", "/u", "/u/1/2", "/U/1", "/two/1/x/", "//u/7"] {
        assert_eq!(site.get(path).status, 404, "{path}");
    }
}

in_each_language!(apps_share_a_site_by_their_mount_points);
fn apps_share_a_site_by_their_mount_points(language: Language) {
    let toml = r#"
        [[app]]
        source = "app.LANGUAGE"
        workers = 1
        [[app]]
        source = "shop.LANGUAGE"
        workers = 1
        mount = "/shop"
    "#;
    let site = language
        .plan(Scripts {
            lua: r#"app:get("/", function() return "front" end)"#,
            python: r#"@app.get("/")
def front(req): return "front""#,
        })
        .file(
            &language.file("shop"),
            &language.script_of(Scripts {
                lua: r#"app:get("/{id}", function(req, id) return "shop " .. id .. " " .. req.path end)"#,
                python: r#"
                @app.get("/{id}")
                async def shop(req, id): return f"shop {id} {req.path}"
                "#,
            }),
        )
        .config(&toml.replace("LANGUAGE", language.pick("lua", "py")))
        .configured_apps()
        .start();
    assert_eq!(site.get("/").text(), "front");
    assert_eq!(site.get("/shop/7").text(), "shop 7 /shop/7");
    assert_eq!(site.get("/shopping").status, 404);
    assert_eq!(site.get("/7").status, 404);
}

in_each_language!(a_folder_public_beside_the_app_is_served_by_mongrel2);
fn a_folder_public_beside_the_app_is_served_by_mongrel2(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"
        app:get("/", function() return "from the script" end)
        app:not_found(function() return "no script and no file" end)
        "#,
            python: r#"
        @app.get("/")
        def front(req): return "from the script"
        @app.not_found
        def nowhere(req): return "no script and no file"
        "#,
        })
        .file("public/style.css", "body { color: green }")
        .file("public/pictures/a.txt", "a picture")
        .start();
    let response = site.get("/style.css");
    assert_eq!((response.status, response.text().as_str()), (200, "body { color: green }"));
    assert_eq!(response.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(site.get("/pictures/a.txt").text(), "a picture");
    assert_eq!(site.get("/").text(), "from the script");
    assert_eq!(site.get("/nowhere").text(), "no script and no file");
}
