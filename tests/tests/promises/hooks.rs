use tests::client::request;
use tests::site::Site;

#[test]
fn before_hooks_run_in_order_and_the_first_answer_ends_the_request() {
    let site = Site::lua(
        r#"
        app:before(function(req) req.user = req.headers["x-user"] end)
        app:before(function(req)
          if req.path == "/secret" and not req.user then return kennel.response("who?", { status = 401 }) end
        end)
        app:before(function(req) if req.path == "/table" then return { early = true } end end)
        app:get("/secret", function(req) return "welcome " .. req.user end)
        app:get("/table", function() error("never reached") end)
        "#,
    );
    assert_eq!(site.get("/secret").status, 401);
    assert_eq!(site.send(request("GET", "/secret", &[("X-User", "ann")], b"")).text(), "welcome ann");
    assert_eq!(site.get("/table").text(), r#"{"early":true}"#);
}

#[test]
fn after_hooks_see_change_and_replace_every_response() {
    let site = Site::lua(
        r#"
        app:get("/", function() return "body" end)
        app:get("/table", function() return { a = 1 } end)
        app:get("/raise", function() error("oops") end)
        app:get("/replace", function() return "old" end)
        app:before(function(req) if req.path == "/early" then return "early" end end)
        app:after(function(req, res) res.headers["X-Seen"] = res.status .. " " .. #res.body end)
        app:after(function(req, res)
          if req.path == "/" then res.status = 202 res.body = res.body .. "!" end
          if req.path == "/replace" then return kennel.response("new", { status = 418 }) end
        end)
        "#,
    );
    let response = site.get("/");
    assert_eq!((response.status, response.text().as_str()), (202, "body!"));
    assert_eq!(response.header("x-seen"), Some("200 4"));
    assert_eq!(response.header("content-length"), Some("5"));
    let response = site.get("/table");
    assert_eq!(
        (response.header("x-seen"), response.header("content-type")),
        (Some("200 7"), Some("application/json"))
    );
    let response = site.get("/replace");
    assert_eq!((response.status, response.text().as_str()), (418, "new"));
    assert!(site.get("/early").header("x-seen").is_some(), "an early answer");
    assert!(site.get("/raise").header("x-seen").is_some_and(|seen| seen.starts_with("500 ")), "an error");
    assert!(site.get("/none").header("x-seen").is_some_and(|seen| seen.starts_with("404 ")), "nothing found");
    let response = site.send(request("POST", "/", &[], b""));
    assert!(response.header("x-seen").is_some_and(|seen| seen.starts_with("405 ")), "a wrong method");
    assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"));
    let response = site.send(request("OPTIONS", "/", &[], b""));
    assert!(response.header("x-seen").is_some_and(|seen| seen.starts_with("204 ")), "options");
}

#[test]
fn not_found_and_error_replace_the_pages() {
    let site = Site::lua(
        r#"
        app:not_found(function(req)
          if req.path == "/soft" then return kennel.response("found after all", { status = 200 }) end
          return "no " .. req.path
        end)
        app:error(function(req, message) return kennel.html("<b>sorry</b>", { status = 503 }) end)
        app:get("/raise", function() error("oops") end)
        "#,
    );
    let response = site.get("/where");
    assert_eq!((response.status, response.text().as_str()), (404, "no /where"));
    assert_eq!(site.get("/soft").status, 200);
    let response = site.get("/raise");
    assert_eq!((response.status, response.text().as_str()), (503, "<b>sorry</b>"));
    site.log().expect("oops");
}

#[test]
fn an_error_page_as_text_is_still_a_500() {
    let site = Site::lua(
        r#"
        app:error(function(req, message) return "we know: " .. message end)
        app:get("/raise", function() error("oops") end)
        "#,
    );
    let response = site.get("/raise");
    assert_eq!(response.status, 500);
    assert!(response.text().starts_with("we know: "), "{}", response.text());
}

#[test]
fn a_hook_that_fails_costs_one_500_and_is_logged() {
    let site = Site::lua(
        r#"
        app:before(function(req) if req.path == "/before" then error("before broke") end end)
        app:after(function(req, res) if req.path == "/after" then error("after broke") end end)
        app:error(function(req) if req.path == "/twice" then error("error page broke") end return "sorry" end)
        app:get("/twice", function() error("first") end)
        app:get("/after", function() return "x" end)
        app:get("/fine", function() return "fine" end)
        "#,
    );
    for (path, log) in
        [("/before", "before broke"), ("/after", "after broke"), ("/twice", "error page broke")]
    {
        assert_eq!(site.get(path).status, 500, "{path}");
        site.log().expect(log);
    }
    assert_eq!(site.get("/fine").text(), "fine");
}
