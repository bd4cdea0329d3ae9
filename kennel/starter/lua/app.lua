local kennel = require "kennel"
local app = kennel.app()

local PAGE = [[
<!doctype html>
<html lang="en">
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>NAME</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/style.css">
  <h1>NAME</h1>
  <p>Open this page in a second window, and say something.</p>
  <p id="state" role="status">Connecting …</p>
  <ul id="said" aria-label="What was said" aria-live="polite"></ul>
  <form id="say">
    <label for="text">Your message</label>
    <input id="text" name="text" autocomplete="off" autofocus>
    <button>Send</button>
  </form>
  <script src="/kennel.js"></script>
  <script src="/chat.js"></script>
</html>
]]

app:get("/", function(req)
  return kennel.html(PAGE)
end)

-- A table is answered as JSON.
app:get("/hello/{name}", function(req, name)
  return { text = kennel.config.greeting .. ", " .. name .. "!" }
end)

-- What one says, everybody in the room hears.
app:channel("/chat", {
  open = function(conn)
    conn:join("everybody")
  end,
  message = function(conn, text)
    kennel.room("everybody"):send(text)
  end,
})

return app
