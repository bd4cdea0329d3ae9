-- A page that Lua makes. Change the text while `kennel dev` runs, and reload.
local kennel = require "kennel"
local app = kennel.app()

local page = [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>Hello from Lua</title>
<link rel="stylesheet" href="/style.css">
<h1>Hello from Lua</h1>
<p>This page was made by worker %d of Kennel, behind Mongrel2, for %s.</p>
<form onsubmit="location = '/hello/' + encodeURIComponent(this.name.value); return false">
  <label>Your name <input name="name" autofocus></label>
  <button>Say hello</button>
</form>
]]

app:get("/", function(req)
  return kennel.html(page:format(kennel.worker, req.remote_addr))
end)

app:get("/hello/{name}", function(req, name)
  return { hello = name, agent = req.headers["user-agent"] }
end)

return app
