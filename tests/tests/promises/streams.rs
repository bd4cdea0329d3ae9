use tests::client::request;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process::resident_memory;

const STREAMS: Scripts<'_> = Scripts {
    lua: r#"
    app:get("/three", function()
      return kennel.stream(function(send)
        for number = 1, 3 do send("piece " .. number .. "\n") kennel.sleep(0.01) end
      end, { headers = { ["x-a"] = "b" } })
    end)
    app:get("/empty", function() return kennel.stream(function() end) end)
    app:get("/early", function() return kennel.stream(function(send) error("too early") end) end)
    app:get("/late", function() return kennel.stream(function(send) send("x") kennel.sleep(0.05) error("too late") end) end)
    app:get("/endless", function()
      return kennel.stream(function(send)
        local ok, problem = pcall(function() while true do send(("x"):rep(10000)) end end)
        print("endless ended: " .. tostring(problem))
        error(problem, 0)
      end)
    end)
    app:get("/odd", function() return kennel.stream(function(send) send("x") send(nil) end) end)
    app:get("/none", function() return kennel.stream(7) end)
    app:get("/quick", function() return "quick" end)
    "#,
    python: r#"
    import asyncio
    @app.get("/three")
    async def three(req):
        async def pieces():
            for number in 1, 2, 3:
                yield f"piece {number}\n"
                await asyncio.sleep(0.01)
        return kennel.stream(pieces, headers={"x-a": "b"})
    @app.get("/empty")
    def empty(req): return kennel.stream(iter([]))
    @app.get("/early")
    def early(req):
        def pieces():
            raise RuntimeError("too early")
            yield "x"
        return kennel.stream(pieces)
    @app.get("/late")
    async def late(req):
        async def pieces():
            yield "x"
            await asyncio.sleep(0.05)
            raise RuntimeError("too late")
        return kennel.stream(pieces)
    @app.get("/endless")
    def endless(req):
        def pieces():
            try:
                while True: yield "x" * 10000
            finally:
                print("endless ended: the client has left")
        return kennel.stream(pieces)
    @app.get("/odd")
    def odd(req):
        def pieces():
            yield "x"
            yield None
        return kennel.stream(pieces)
    @app.get("/none")
    async def none(req): return kennel.stream(7)
    @app.get("/quick")
    def quick(req): return "quick"
    "#,
};

in_each_language!(a_body_in_pieces_is_chunked_and_whole);
fn a_body_in_pieces_is_chunked_and_whole(language: Language) {
    let site = language.site(STREAMS);
    let mut client = site.client();
    client.send(request("GET", "/three", &[], b""));
    let head = client.read_head();
    assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")));
    assert_eq!(
        (head.header("content-type"), head.header("x-a")),
        (Some("text/plain; charset=utf-8"), Some("b"))
    );
    let chunks: Vec<String> =
        std::iter::from_fn(|| Some(client.read_chunk()).filter(|chunk| !chunk.is_empty())).collect();
    assert_eq!(chunks.concat(), "piece 1\npiece 2\npiece 3\n");
    assert_eq!(chunks.len(), 3, "each came when it was sent: {chunks:?}");
    assert_eq!(client.get("/empty").text(), "");
    client.send(request("HEAD", "/three", &[], b""));
    assert_eq!(client.read_head().status, 200);
    assert_eq!(client.get("/quick").text(), "quick");
    let old = site.send("GET /three HTTP/1.0\r\n\r\n");
    assert_eq!(old.text(), "piece 1\npiece 2\npiece 3\n");
    assert_eq!(site.get("/none").status, 500);
}

in_each_language!(a_stream_that_fails_is_a_500_before_its_first_piece_and_cut_short_after_it);
fn a_stream_that_fails_is_a_500_before_its_first_piece_and_cut_short_after_it(language: Language) {
    let site = language.site(STREAMS);
    assert_eq!(site.get("/early").status, 500);
    site.log().expect("GET /early failed: ");
    site.log().expect("too early");
    for path in ["/late", "/odd"] {
        let mut client = site.client();
        client.send(request("GET", path, &[], b""));
        assert_eq!(client.read_head().status, 200);
        assert_eq!(client.read_chunk(), "x");
        assert_eq!(client.read_to_end(), b"", "{path}: no last chunk");
        site.log().expect(&format!("GET {path} failed: "));
    }
    site.log().expect("too late");
    site.log().expect("request=");
    assert_eq!(site.get("/quick").text(), "quick");
}

in_each_language!(a_stream_waits_for_its_client_and_hears_when_that_leaves);
fn a_stream_waits_for_its_client_and_hears_when_that_leaves(language: Language) {
    // Kennel's own server, which has flow control.
    let site = language.plan(STREAMS).workers(1).start();
    assert_eq!(site.get("/quick").text(), "quick");
    let worker = site.workers()[0];
    let before = (resident_memory(site.hub()), resident_memory(worker));
    let mut client = site.client();
    client.hold_little();
    client.send(request("GET", "/endless", &[], b""));
    assert_eq!(client.read_head().status, 200);
    for _ in 0..50 {
        assert_eq!(site.get("/quick").text(), "quick", "the worker serves others");
    }
    let after = (resident_memory(site.hub()), resident_memory(worker));
    assert!(after.0 < before.0 + (30 << 20) && after.1 < before.1 + (10 << 20), "{before:?} {after:?}");
    for _ in 0..100 {
        assert!(client.try_read_chunk().is_ok_and(|chunk| !chunk.is_empty()));
    }
    client.vanish();
    site.log().expect("endless ended: ");
    site.log().expect("the client has left");
    assert_eq!(site.log().count("failed"), 0, "{}", site.log().text());
}

const EVENTS: Scripts<'_> = Scripts {
    lua: r#"
    app:get("/events", function()
      return kennel.events(function(send)
        send("one\ntwo")
        kennel.sleep(0.05)
        send{ event = "news", data = { a = 1 }, id = "7", retry = 1500 }
      end)
    end)
    app:get("/silent", function() return kennel.events(function(send) kennel.sleep(40) end) end)
    app:get("/split", function() return kennel.events(function(send) send{ event = "a\ndata: b", data = "x" } end) end)
    app:get("/unknown", function() return kennel.events(function(send) send{ name = "a" } end) end)
    "#,
    python: r#"
    import asyncio
    @app.get("/events")
    async def events(req):
        async def source():
            yield "one\ntwo"
            await asyncio.sleep(0.05)
            yield {"event": "news", "data": {"a": 1}, "id": "7", "retry": 1500}
        return kennel.events(source)
    @app.get("/silent")
    async def silent(req):
        async def source():
            await asyncio.sleep(40)
            yield "late"
        return kennel.events(source)
    @app.get("/split")
    def split(req): return kennel.events(iter([{"event": "a\ndata: b", "data": "x"}]))
    @app.get("/unknown")
    def unknown(req): return kennel.events(iter([{"name": "a"}]))
    "#,
};

in_each_language!(events_are_written_as_browsers_read_them);
fn events_are_written_as_browsers_read_them(language: Language) {
    let site = language.site(EVENTS);
    let mut client = site.client();
    client.send(request("GET", "/events", &[("accept-encoding", "gzip")], b""));
    let head = client.read_head();
    assert_eq!(head.headers_named("content-type"), ["text/event-stream"]);
    assert_eq!(head.header("cache-control"), Some("no-cache"));
    assert_eq!(head.header("content-encoding"), None);
    assert_eq!(client.read_chunk(), "data: one\ndata: two\n\n");
    assert_eq!(client.read_chunk(), "event: news\nid: 7\nretry: 1500\ndata: {\"a\":1}\n\n");
    assert_eq!(client.read_chunk(), "");
    client.send(request("HEAD", "/silent", &[], b""));
    assert_eq!(client.read_head().header("content-type"), Some("text/event-stream"));
    for (path, problem) in
        [("/split", "the event of an event must be one line without NUL"), ("/unknown", "not `name`")]
    {
        client = site.client();
        client.send(request("GET", path, &[], b""));
        assert_eq!(client.read_head().status, 200);
        assert_eq!(client.read_to_end(), b"", "{path}");
        site.log().expect(problem);
    }
}

in_each_language!(events_begin_before_there_is_one_and_show_signs_of_life);
fn events_begin_before_there_is_one_and_show_signs_of_life(language: Language) {
    let site = language.site(EVENTS);
    let mut client = site.client();
    client.send(request("GET", "/silent", &[], b""));
    assert_eq!(client.read_head().status, 200);
    client.set_patience(std::time::Duration::from_secs(30));
    assert_eq!(client.read_chunk(), ":\n\n");
}
