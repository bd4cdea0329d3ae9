"""A page that Python makes. Change the text while `kennel dev` runs, and reload."""

import html

import kennel

app = kennel.App()

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Hello from Python</title>
<link rel="stylesheet" href="/style.css">
<h1>Hello from Python</h1>
<p>This page was made by worker {worker} of Kennel, behind Mongrel2, for {client}.</p>
<form onsubmit="location = '/hello/' + encodeURIComponent(this.name.value); return false">
  <input name="name" placeholder="Your name" autofocus>
  <button>Say hello</button>
</form>
"""


@app.get("/")
def page(req):
    return kennel.html(PAGE.format(worker=kennel.worker, client=html.escape(req.remote_addr)))


@app.get("/hello/{name}")
async def hello(req, name):
    return {"hello": name, "agent": req.headers.get("user-agent")}
