"""A page that Python makes. Change the text while `kennel dev` runs, and reload."""

import html

import kennel

app = kennel.App()

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>Hello from Python</title>
<link rel="stylesheet" href="/style.css">
<h1>Hello from Python</h1>
<p>This page was made by worker {worker} of Kennel, behind Mongrel2, for {client}.</p>
<form onsubmit="location = '/hello/' + encodeURIComponent(this.name.value); return false">
  <label>Your name <input name="name" autofocus></label>
  <button>Say hello</button>
</form>
"""


@app.get("/")
def page(req):
    return kennel.html(PAGE.format(worker=kennel.worker, client=html.escape(req.remote_addr)))


@app.get("/hello/{name}")
async def hello(req, name):
    return {"hello": name, "agent": req.headers.get("user-agent")}
