-- A small JSON service: notes in memory, kept for a while. State lives in one worker (kennel.toml says
-- so); an app with several workers keeps it in a database.
local kennel = require "kennel"
local store = require "store"
local app = kennel.app()

-- Every request passes here first; a value that is returned ends it.
app:before(function(req)
  if req.method ~= "GET" and req.headers["content-type"] ~= "application/json" then
    return kennel.response("send JSON, please\n", { status = 415 })
  end
end)

-- And every answer passes here last.
app:after(function(req, res)
  res.headers["cache-control"] = "no-store"
end)

app:get("/", function()
  return "GET /notes, POST /notes {\"text\": ...}, GET /notes/ID, DELETE /notes/ID, GET /notes/wait/ID\n"
end)

app:get("/notes", function(req)
  return kennel.array(store.list(req.args.contains))
end)

app:post("/notes", function(req)
  local text = req:json().text
  if type(text) ~= "string" or text == "" then
    return kennel.response({ error = "a note needs a text" }, { status = 422 })
  end
  local note = store.add(text)
  return kennel.response(note, { status = 201, headers = { location = "/notes/" .. note.id } })
end)

app:get("/notes/{id}", function(req, id)
  return store.get(id) or kennel.response({ error = "no such note" }, { status = 404 })
end)

app:delete("/notes/{id}", function(req, id)
  store.remove(id)
  return kennel.no_content()
end)

-- Answers when a note is there, or after five seconds without one: a request may sleep, and the
-- others go on meanwhile.
app:get("/notes/wait/{id}", function(req, id)
  for _ = 1, 50 do
    local note = store.get(id)
    if note then
      return note
    end
    kennel.sleep(0.1)
  end
  return kennel.response({ error = "no such note yet" }, { status = 404 })
end)

app:every(60, function()
  local count = store.forget_older_than(kennel.config.keep_seconds or 3600)
  if count > 0 then
    kennel.log.info("forgot old notes", { count = count })
  end
end)

return app
