from kennel import testing


def test_the_page_is_there():
    res = testing.site().get("/")
    assert res.status == 200
    assert "<h1>NAME</h1>" in res.text


def test_a_visitor_is_greeted():
    assert testing.site().get("/hello/Ann").json() == {"text": "Hello, Ann!"}


def test_what_one_says_everybody_hears():
    site = testing.site()
    ann, bob = site.connect("/chat"), site.connect("/chat")
    ann.send("hi")
    assert ann.messages() == ["hi"]
    assert bob.messages() == ["hi"]
