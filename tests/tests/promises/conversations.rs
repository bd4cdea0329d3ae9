use tests::client::{Response, get, request};
use tests::process;
use tests::site::{Plan, Site};
use tests::wait;

const ORDER: &str = r#"
app:conversation("/order/{what}", function(req, what)
  local first = kennel.prompt(kennel.html("<form method=post>how many?</form>"))
  local second = kennel.prompt(function(url)
    return kennel.html("<a href='" .. url .. "&sure=yes'>" .. first.body .. " " .. what .. "?</a>")
  end)
  print("[ordered " .. first.body .. " " .. what .. "]")
  return second.args.sure .. ": " .. first.body .. " " .. what
end)
app:get("/hold", function() print("[held]") kennel.sleep(0.5) return "held" end)
app:get("/fine", function() return "fine" end)
"#;

fn plan() -> Plan {
    Site::plan(ORDER).behind_warm()
}

/// Someone with a browser that keeps one cookie and follows redirects.
struct Visitor<'a> {
    site: &'a Site,
    cookie: Option<String>,
    /// Where he is.
    at: String,
}

impl<'a> Visitor<'a> {
    fn new(site: &'a Site) -> Self {
        Self { site, cookie: None, at: String::new() }
    }

    /// One request, whose redirect is not followed.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> Response {
        let headers: Vec<_> = self.cookie.iter().map(|cookie| ("Cookie", cookie.as_str())).collect();
        let answer = self.site.send(request(method, path, &headers, body.as_bytes()));
        if let Some(line) = answer.header("set-cookie") {
            assert!(line.contains("HttpOnly") && line.contains("SameSite=Lax"), "{line}");
            self.cookie = line.split(';').next().map(str::to_owned);
        }
        answer
    }

    fn go(&mut self, method: &str, path: &str, body: &str) -> Response {
        path.clone_into(&mut self.at);
        let answer = self.ask(method, path, body);
        if answer.status != 303 {
            return answer;
        }
        self.at = answer.header("location").expect("a redirect leads somewhere").to_owned();
        let at = self.at.clone();
        self.ask("GET", &at, "")
    }

    /// Sends the form of the page where he is.
    fn answer(&mut self, body: &str) -> Response {
        let at = self.at.clone();
        self.go("POST", &at, body)
    }
}

#[test]
fn several_pages_are_one_function() {
    let site = plan().workers(1).start();
    let mut visitor = Visitor::new(&site);
    assert_eq!(visitor.go("GET", "/order/tea", "").text(), "<form method=post>how many?</form>");
    let page = visitor.answer("3");
    let link = page.text().split('\'').nth(1).expect("a link").to_owned();
    assert_eq!(link, format!("{}&sure=yes", visitor.at));
    // To look again, at any time, does nothing.
    for _ in 0..2 {
        let at = visitor.at.clone();
        assert_eq!(visitor.ask("GET", &at, "").text(), page.text());
    }
    assert_eq!(visitor.go("GET", &link, "").text(), "yes: 3 tea");
    assert_eq!(visitor.go("GET", &link, "").status, 410);
    site.log().expect_exactly("[ordered 3 tea]", 1);
}

/// Two visitors, each in the conversation of another worker.
fn apart(site: &Site) -> [Visitor<'_>; 2] {
    let mut visitors = [Visitor::new(site), Visitor::new(site)];
    visitors[0].go("GET", "/order/tea", "");
    // While one worker has something to do, the other one gets what comes.
    let mut busy = site.client();
    busy.send(get("/hold"));
    site.log().expect("[held]");
    visitors[1].go("GET", "/order/milk", "");
    assert_eq!(busy.read().text(), "held");
    let worker = |visitor: &Visitor<'_>| visitor.at.split(['=', '-']).nth(1).map(str::to_owned);
    assert_ne!(worker(&visitors[0]), worker(&visitors[1]));
    visitors
}

#[test]
fn a_conversation_goes_on_in_its_worker_whichever_gets_the_request() {
    let site = plan().workers(2).start();
    let mut visitors = apart(&site);
    for (number, visitor) in visitors.iter_mut().enumerate() {
        let page = visitor.answer(&format!("{number}"));
        let what = ["tea", "milk"][number];
        assert!(page.text().contains(&format!(">{number} {what}?<")), "{}", page.text());
        let link = format!("{}&sure=ok", visitor.at);
        assert_eq!(visitor.go("GET", &link, "").text(), format!("ok: {number} {what}"));
    }
}

#[test]
fn going_back_and_sending_twice_does_nothing_twice() {
    let site = plan().workers(1).start();
    let mut visitor = Visitor::new(&site);
    visitor.go("GET", "/order/tea", "");
    let first = visitor.at.clone();
    visitor.answer("3");
    let second = visitor.at.clone();
    // The first form again: where he is now is what he gets.
    let page = visitor.go("POST", &first, "4");
    assert_eq!((page.status, visitor.at.as_str()), (200, second.as_str()));
    assert!(page.text().contains(">3 tea?<"), "{}", page.text());
    let page = visitor.go("GET", &first, "");
    assert_eq!((page.status, visitor.at.as_str()), (200, second.as_str()));
}

#[test]
fn strangers_and_made_up_addresses_get_a_clear_page() {
    let site = plan().workers(2).start();
    let mut visitor = Visitor::new(&site);
    visitor.go("GET", "/order/tea", "");
    let at = visitor.at.clone();
    let without_cookie = Visitor::new(&site).ask("GET", &at, "");
    assert_eq!(without_cookie.status, 410);
    assert!(
        without_cookie.text().contains("<a href=\"/order/tea\">Begin again</a>"),
        "{}",
        without_cookie.text()
    );
    let key = at.split('-').nth(1).expect("a key");
    for talk in [
        "",
        "x",
        "1-2-3",
        "-1-0-0",
        "1",
        "99999999999999999999-0-0",
        "2-ffffffffffffffffffffffffffffffff-1",
        &format!("1-{key}-"),
        &format!("1-{key}-99999"),
        &format!("0-{key}-1"),
        &format!("77-{key}-1"),
        &format!("1-{}-1", key.to_uppercase()),
        "%00",
        "1-%00-1",
    ] {
        let answer = Visitor::new(&site).ask("POST", &format!("/order/tea?talk={talk}"), "3");
        assert_eq!(answer.status, 410, "{talk}: {}", answer.text());
    }
    let elsewhere = at.replace("/order/tea", "/order/%3Cb%3E");
    let answer = visitor.ask("GET", &elsewhere, "");
    assert_eq!(answer.status, 410);
    assert!(answer.text().contains("/order/%3Cb%3E"), "{}", answer.text());
    assert!(visitor.ask("POST", &at, "3").status == 303, "the right one goes on all the same");
}

#[test]
fn a_worker_that_dies_takes_its_conversations_along_and_says_so() {
    let site = plan().workers(2).start();
    let mut visitors = apart(&site);
    let old = site.workers();
    process::kill(old[0]);
    wait::until("another worker", || {
        let now = site.workers();
        now.len() == 2 && !now.contains(&old[0])
    });
    assert_eq!(site.get("/fine").text(), "fine");
    let mut statuses: Vec<u16> = visitors.iter_mut().map(|visitor| visitor.answer("3").status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 410]);
    // And to begin again is one click.
    for visitor in &mut visitors {
        assert_eq!(visitor.go("GET", "/order/tea", "").status, 200);
    }
}

#[test]
fn whoever_does_not_come_back_is_not_waited_for_for_ever() {
    let site = Site::plan(
        r#"
        app:conversation("/", function(req)
          local answer, why = kennel.prompt("soon?", { timeout = 0.2 })
          print("[" .. tostring(answer) .. " " .. tostring(why) .. "]")
          local later = kennel.prompt("you were slow")
          return "at last: " .. later.body
        end)
        "#,
    )
    .behind_warm()
    .workers(1)
    .start();
    let mut visitor = Visitor::new(&site);
    assert_eq!(visitor.go("GET", "/", "").text(), "soon?");
    site.log().expect("[nil timeout]");
    assert_eq!(visitor.answer("now").text(), "you were slow");
    assert_eq!(visitor.answer("really").text(), "at last: really");
}

#[test]
fn those_that_wait_are_bounded_and_the_most_silent_one_ends() {
    let site = plan().workers(1).config("[limits]\nconversations = 2\n").start();
    let mut visitors: Vec<_> = (0..3).map(|_| Visitor::new(&site)).collect();
    visitors[0].go("GET", "/order/a", "");
    visitors[1].go("GET", "/order/b", "");
    // The first one is heard of again, so the second one has been silent for longest.
    assert_eq!(visitors[0].answer("1").status, 200);
    visitors[2].go("GET", "/order/c", "");
    let statuses = [0, 1, 2].map(|number| {
        let visitor: &mut Visitor<'_> = &mut visitors[number];
        let at = visitor.at.clone();
        visitor.ask("GET", &at, "").status
    });
    assert_eq!(statuses, [200, 410, 200]);
    site.log().expect_times("more than limits.conversations (2) wait", 1);
}

/// To begin a conversation costs a stranger nothing, so it ends none in which a visitor has answered.
#[test]
fn conversations_that_are_only_begun_end_before_those_that_a_visitor_works_on() {
    let site = plan().workers(1).config("[limits]\nconversations = 3\n").start();
    let mut visitor = Visitor::new(&site);
    visitor.go("GET", "/order/a", "");
    assert_eq!(visitor.answer("1").status, 200);
    let mut strangers: Vec<_> = (0..10).map(|_| Visitor::new(&site)).collect();
    for stranger in &mut strangers {
        stranger.go("GET", "/order/b", "");
    }
    let at = visitor.at.clone();
    assert_eq!(visitor.ask("GET", &at, "").status, 200);
    site.log().expect_times("more than limits.conversations (3) wait", 8);
}

#[test]
fn errors_in_a_conversation_have_their_line_and_end_it() {
    let site = Site::plan(
        r#"
        app:conversation("/raise", function(req)
          local answer = kennel.prompt("page")
          error("oops " .. answer.body)
        end)
        app:conversation("/nothing", function() kennel.prompt("page") end)
        app:conversation("/refused", function() return kennel.prompt("page"):json() end)
        app:conversation("/number", function() kennel.prompt(7) end)
        app:conversation("/sleeps", function()
          local answer = kennel.prompt("page")
          kennel.sleep(0.01)
          return "slept " .. answer.body
        end)
        app:get("/outside", function() return kennel.prompt("page") end)
        "#,
    )
    .behind_warm()
    .workers(1)
    .start();
    let through = |path: &str| {
        let mut visitor = Visitor::new(&site);
        assert_eq!(visitor.go("GET", path, "").text(), "page", "{path}");
        let answer = visitor.answer("now");
        let at = visitor.at.clone();
        assert_eq!(visitor.ask("GET", &at, "").status, 410, "it is over");
        answer
    };
    assert_eq!(through("/raise").status, 500);
    site.log().expect("app.lua:5: oops now");
    assert_eq!(through("/nothing").status, 500);
    site.log().expect("returned nothing");
    assert_eq!(through("/refused").status, 400);
    assert_eq!(through("/sleeps").text(), "slept now");
    assert_eq!(site.get("/number").status, 500);
    site.log().expect("kennel.prompt takes a string, a table or a response, not a number");
    assert_eq!(site.get("/outside").status, 500);
    site.log().expect("kennel.prompt works in the function of an app:conversation");
}
