use serde_json::json;
use tests::client::request;
use tests::site::{Site, script};

#[test]
fn every_method_has_its_route() {
    let site = Site::lua(
        r#"
        for _, method in ipairs { "get", "post", "put", "patch", "delete" } do
          app[method](app, "/m", function(req) return method .. " " .. req.method end)
        end
        app:options("/m", function() return "my options" end)
        app:route("PROPFIND", "/p", function(req) return req.method end)
        app:route({ "lock", "UNLOCK" }, "/p", function(req) return req.method end)
        "#,
    );
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let text = site.send(request(method, "/m", &[], b"")).text();
        assert_eq!(text, format!("{} {method}", method.to_lowercase()));
    }
    assert_eq!(site.send(request("OPTIONS", "/m", &[], b"")).text(), "my options");
    for method in ["PROPFIND", "LOCK", "UNLOCK"] {
        assert_eq!(site.send(request(method, "/p", &[], b"")).text(), method);
    }
}

#[test]
fn head_is_answered_from_get_without_a_body() {
    let site = Site::lua(
        r#"
        app:get("/", function(req) return kennel.response(req.method, { headers = { ["x-a"] = "b" } }) end)
        app:post("/post", function() return "x" end)
        "#,
    );
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

#[test]
fn options_and_405_come_from_the_route_table() {
    let site = Site::lua(
        r#"
        app:get("/x", function() return "x" end)
        app:post("/x", function() return "x" end)
        app:delete("/y", function() return "y" end)
        "#,
    );
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

#[test]
fn path_values_are_decoded_and_in_path_order() {
    let site = Site::lua(
        r#"
        app:get("/u/{id}", function(req, id) return { id = id, params = req.params } end)
        app:get("/u/me", function() return "me" end)
        app:get("/f/{*rest}", function(req, rest) return { rest = rest } end)
        app:get("/two/{first}/x/{second}", function(req, a, b) return { a, b, req.params.first, req.params.second } end)
        app:get("/caf\195\169", function() return "literal" end)
        "#,
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

#[test]
fn apps_share_a_site_by_their_mount_points() {
    let toml = r#"
        [[app]]
        source = "app.lua"
        workers = 1
        [[app]]
        source = "shop.lua"
        workers = 1
        mount = "/shop"
    "#;
    let site = Site::plan(r#"app:get("/", function() return "front" end)"#)
        .file(
            "shop.lua",
            &script(r#"app:get("/{id}", function(req, id) return "shop " .. id .. " " .. req.path end)"#),
        )
        .config(toml)
        .configured_apps()
        .start();
    assert_eq!(site.get("/").text(), "front");
    assert_eq!(site.get("/shop/7").text(), "shop 7 /shop/7");
    assert_eq!(site.get("/shopping").status, 404);
    assert_eq!(site.get("/7").status, 404);
}

#[test]
fn a_folder_public_beside_the_app_is_served_by_mongrel2() {
    let site = Site::plan(
        r#"
        app:get("/", function() return "from the script" end)
        app:not_found(function() return "no script and no file" end)
        "#,
    )
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
