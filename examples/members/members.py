"""A small site: accounts, a login, and a wall that only members write on."""

import hashlib
import hmac
import os
import sqlite3

import kennel

app = kennel.App(csrf=True)

# Every worker has a connection of its own; one shared database in memory serves the examples' one worker.
database = sqlite3.connect(kennel.config.get("database", ":memory:"), isolation_level=None)
database.executescript(
    """
    pragma busy_timeout = 5000;
    create table if not exists member (name text primary key, salt blob not null, hash blob not null);
    create table if not exists note (id integer primary key, member text not null, text text not null);
    """
)


def hashed(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def page(req, template, status=200, **values):
    return kennel.render(template, values, request=req, status=status)


@app.get("/")
def wall(req):
    rows = database.execute("select member, text from note order by id desc limit 50")
    return page(req, "wall.html", notes=[{"member": member, "text": text} for member, text in rows])


@app.post("/notes")
def write(req):
    member = req.session.get("member")
    if member is None:
        return kennel.redirect("/login")
    text = req.form.get("text", "").strip()
    if text:
        database.execute("insert into note (member, text) values (?, ?)", (member, text[:1000]))
    return kennel.redirect("/")


@app.get("/login")
def login_page(req):
    return page(req, "login.html")


@app.post("/login")
def login(req):
    name, password = req.form.get("name", "").strip(), req.form.get("password", "")
    known = database.execute("select salt, hash from member where name = ?", (name,)).fetchone()
    # Hashed in any case, so that the time does not tell which names there are.
    salt, right = known or (b"nobody", b"")
    if not hmac.compare_digest(hashed(password, salt), right):
        return page(req, "login.html", status=403, problem="No member has this name and password.", name=name)
    return come_in(req, name)


@app.post("/join")
def join(req):
    name, password = req.form.get("name", "").strip(), req.form.get("password", "")
    if not 1 <= len(name) <= 40 or len(password) < 8:
        problem = "A name has 1 to 40 letters, a password at least 8."
        return page(req, "login.html", status=400, problem=problem, name=name)
    salt = os.urandom(16)
    try:
        database.execute("insert into member values (?, ?, ?)", (name, salt, hashed(password, salt)))
    except sqlite3.IntegrityError:
        return page(req, "login.html", status=409, problem="There is a member of this name.", name=name)
    return come_in(req, name)


def come_in(req, name):
    req.session = {"member": name}  # another session in place of the stranger's
    return kennel.redirect("/")


@app.post("/logout")
def logout(req):
    req.session = None
    return kennel.redirect("/")
