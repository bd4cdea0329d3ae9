"""What the site promises: `kennel test` in the folder above."""

import re

from kennel import testing


def token(page):
    return re.search(r'name="csrf_token" value="([^"]+)"', page.text).group(1)


def send(site, path, **form):
    """Sends a form as its page has it."""
    return site.post(path, form={**form, "csrf_token": token(site.get("/login"))})


def test_who_joins_is_in_and_can_write():
    site = testing.site("members.py")
    assert send(site, "/join", name="Ann", password="long enough").headers["location"] == "/"
    assert "Ann <button>Leave</button>" in site.get("/").text
    send(site, "/notes", text="<b>hello</b>")
    assert "<b>Ann</b>: &lt;b&gt;hello&lt;" in site.get("/").text


def test_only_the_right_password_comes_in():
    site = testing.site("members.py")
    send(site, "/join", name="Ann", password="long enough")
    send(site, "/logout")
    assert "Come in" in site.get("/").text
    for name, password in [("Ann", "wrong"), ("Bob", "long enough"), ("", "")]:
        res = send(site, "/login", name=name, password=password)
        assert res.status == 403
        assert "No member has this name and password." in res.text
    assert send(site, "/login", name="Ann", password="long enough").status == 303


def test_strangers_write_nothing():
    site = testing.site("members.py")
    assert send(site, "/notes", text="hello").headers["location"] == "/login"
    assert "Nobody has written anything yet." in site.get("/").text


def test_forms_of_other_sites_are_refused():
    site = testing.site("members.py")
    send(site, "/join", name="Ann", password="long enough")
    assert site.post("/notes", form={"text": "spam"}).status == 403
    assert "spam" not in site.get("/").text


def test_names_and_passwords_have_their_bounds():
    site = testing.site("members.py")
    assert send(site, "/join", name="", password="long enough").status == 400
    assert send(site, "/join", name="Ann", password="short").status == 400
    assert send(site, "/join", name="Ann", password="long enough").status == 303
    assert send(site, "/join", name="Ann", password="long enough").status == 409
