-- Takes files of any size, and says how far they have come.
local kennel = require "kennel"
local app = kennel.app()

local page = [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>Upload</title>
<style>
  body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 34rem; margin: 12vh auto; padding: 0 1rem }
  progress { width: 100%; height: 1.2rem }
</style>
<h1>Upload</h1>
<p><label>File <input type="file"></label> <button hidden>Stop</button>
<p><progress value="0" max="1"></progress>
<p id="said">Choose a file, a large one.
<script>
  const [input, button, bar, said] = ["input", "button", "progress", "#said"].map((name) => document.querySelector(name));
  const size = (bytes) => (bytes / 1e6).toFixed(1) + " MB";
  input.onchange = () => {
    const file = input.files[0];
    // crypto.randomUUID exists only where the page came by https or from this machine.
    const id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const stop = new AbortController();
    const news = new WebSocket(location.origin.replace("http", "ws") + "/progress/" + id);
    news.onmessage = (event) => {
      const { received, total } = JSON.parse(event.data);
      bar.max = total || file.size;
      bar.value = received;
      said.textContent = size(received) + " of " + size(bar.max) + " have arrived.";
    };
    news.onopen = async () => {
      button.hidden = false;
      button.onclick = () => stop.abort();
      try {
        const address = "/files/" + id + "?name=" + encodeURIComponent(file.name);
        const answer = await fetch(address, { method: "PUT", body: file, signal: stop.signal });
        said.textContent = await answer.text();
      } catch {
        said.textContent = "Stopped.";
      }
      button.hidden = true;
      news.close();
    };
  };
</script>
]]

app:get("/", function()
  return kennel.html(page)
end)

-- Whoever wants to know how far an upload has come.
app:channel("/progress/{id}", {
  open = function(conn)
    conn:join("upload " .. conn.request.params.id)
  end,
})

-- The handler begins with the head of the request, and reads the body as it comes.
app:put("/files/{id}", { body = "stream" }, function(req, id)
  local name = (req.args.name or "upload"):gsub("[^%w%.%-]", "_"):gsub("^%.+", "")
  local folder = kennel.config.folder
  local file
  if folder then
    file = assert(io.open(folder .. "/" .. id:gsub("[^%w%-]", "") .. "-" .. name, "wb"))
  end
  local watchers, told = kennel.room("upload " .. id), 0
  while true do
    local piece, problem = req:read(65536)
    if problem then
      kennel.log.info("an upload was given up", { name = name, received = req.received })
      break
    elseif not piece then
      break
    end
    if file then
      file:write(piece)
    end
    if req.received - told >= 1000000 then
      told = req.received
      watchers:send({ received = told, total = req.body_size })
    end
  end
  if file then
    file:close()
  end
  watchers:send({ received = req.received, total = req.received })
  return name .. " is here: " .. req.received .. " bytes.\n"
end)

return app
